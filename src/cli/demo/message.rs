//! The messages of the demo: each begins with its number, and the rest can be told from it.

/// What follows the number, in a message that a person did not write.
const FILLING: &str = "the quick brown proxy jumps over the lazy duck";

/// A message with this number.
pub(super) fn numbered(number: u64) -> String {
    // Of differing lengths, so that the ends of messages and of packets fall apart.
    let length = usize::try_from(number % FILLING.len() as u64).unwrap_or(0);
    format!("#{number} {}", FILLING.get(..length).unwrap_or(FILLING))
}

/// The agent's answer, with a number of its own before the client's whole message.
pub(super) fn answer(number: u64, text: &str) -> String {
    format!("#{number} {text}")
}

/// The number of a message; a person's message in a browser may have none.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('#')?.split([' ', '\n']).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_number() {
        for n in [1, 45, 46, 47, u64::MAX] {
            assert_eq!(number(&numbered(n)), Some(n));
            assert_eq!(number(&answer(n, "#9 x")), Some(n));
        }
    }

    #[test]
    fn a_persons_message_has_no_number() {
        for text in [
            "",
            "#",
            "# 1",
            "hello",
            "#x",
            "#-1 a",
            "1 a",
            "#99999999999999999999 a",
        ] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
