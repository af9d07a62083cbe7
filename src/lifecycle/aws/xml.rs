//! Answers in XML, as trees.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

/// No answer of ours is nested as deeply; what is did not come from the service.
const DEEPEST: usize = 32;

/// An element: its text if it has no elements in it, else these.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// The outermost element of a document; none if the document is broken.
    pub(super) fn parse(document: &[u8]) -> Option<Element> {
        let document = std::str::from_utf8(document).ok()?;
        let mut reader = Reader::from_str(document);
        // What is open, outermost first. The first stands for the document itself.
        let mut open = vec![Element::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) if open.len() < DEEPEST => {
                    open.push(Element::of(tag.local_name().as_ref()));
                }
                Event::Start(_) => return None,
                Event::Empty(tag) => {
                    let element = Element::of(tag.local_name().as_ref());
                    open.last_mut()?.children.push(element);
                }
                Event::End(_) => {
                    let element = open.pop()?;
                    open.last_mut()?.children.push(element);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
                Event::GeneralRef(entity) => {
                    let text = &mut open.last_mut()?.text;
                    match entity.resolve_char_ref().ok()? {
                        Some(character) => text.push(character),
                        None => text.push_str(resolve_predefined_entity(&entity.xml10_content())?),
                    }
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        // One that is still open is not among the children of the document.
        let [document] = open.as_mut_slice() else {
            return None;
        };
        document.children.pop()
    }

    fn of(name: &str) -> Element {
        Element {
            name: name.to_owned(),
            ..Element::default()
        }
    }

    /// The first element of this name in this one.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first element of this name in this one or below, however deep.
    pub(super) fn find(&self, name: &str) -> Option<&Element> {
        let below = || self.children.iter().find_map(|child| child.find(name));
        self.child(name).or_else(below)
    }

    /// Its own text.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    /// The text of the first element of this name in this one, unless it is empty.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        let text = self.child(name)?.text.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The members of the first list of this name in this one or below; none if there is no list.
    pub(super) fn members(&self, list: &str) -> impl Iterator<Item = &Element> {
        let children = self.find(list).map(|list| list.children.iter());
        children
            .into_iter()
            .flatten()
            .filter(|child| child.name == "member")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_members_and_they_their_texts() {
        let document = br#"<?xml version="1.0"?>
            <Answer xmlns="http://example"><Result><Things>
                <member><Name>a &amp; b&#33;</Name><Empty/></member>
                <member><Name><![CDATA[<c>]]></Name></member>
            </Things></Result></Answer>"#;
        let answer = Element::parse(document).unwrap();
        let names: Vec<_> = answer
            .members("Things")
            .map(|one| one.text_of("Name"))
            .collect();
        assert_eq!(names, [Some("a & b!"), Some("<c>")]);
        let first = answer.members("Things").next().unwrap();
        assert_eq!(
            (first.text_of("Empty"), first.text_of("Other")),
            (None, None)
        );
        assert_eq!(answer.members("Others").count(), 0);
    }

    #[test]
    fn what_is_broken_is_nothing() {
        for document in [
            "",
            "words",
            "<a><b></a>",
            "<a>",
            "<a",
            "<a>&nbsp;</a>",
            "\u{0}",
        ] {
            assert_eq!(Element::parse(document.as_bytes()), None, "{document}");
        }
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        assert_eq!(Element::parse(deep.as_bytes()), None);
    }
}
