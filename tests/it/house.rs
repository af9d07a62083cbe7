//! The order of the rooms: a file imports from its own floor or below, never above.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, top to bottom.
const ROOMS: [&str; 10] = [
    "cli",
    "app",
    "lifecycle",
    "admin",
    "drain",
    "http",
    "relay",
    "net",
    "session",
    "config",
];

/// Every `crate::ROOM` in a text, by line; also inside `crate::{...}`.
fn rooms_named(text: &str) -> Vec<(usize, &str)> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => named.extend(first_word(rest).map(|room| (line, room))),
            Some(group) => named.extend(heads_of_group(group).into_iter().map(|r| (line, r))),
        }
    }
    named
}

/// The first word of each member of a braced import, nested braces skipped.
fn heads_of_group(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(first_word(group[start..at].trim_start()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn first_word(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then_some(&text[..end])
}

/// The lines of a file of `room` that point up.
fn upward_arrows(room: &str, text: &str) -> Vec<(usize, String)> {
    let floor = |room: &str| ROOMS.iter().position(|r| *r == room);
    let own = floor(room).unwrap_or_else(|| panic!("no room is called {room}"));
    // What the docs link to is not imported.
    let code: String = text
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("//") {
                "\n".into()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    let up = |(_, named): &(usize, &str)| floor(named).is_some_and(|named| named < own);
    rooms_named(&code)
        .into_iter()
        .filter(up)
        .map(|(line, room)| (line, room.to_owned()))
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_room_imports_from_a_floor_above() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut faults, mut read) = (Vec::new(), 0);
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        // `lib.rs` and `main.rs` are the building, not a room.
        let Some(room) = inside.parent().and_then(|parent| parent.iter().next()) else {
            continue;
        };
        read += 1;
        for (line, named) in
            upward_arrows(room.to_str().unwrap(), &fs::read_to_string(&file).unwrap())
        {
            faults.push(format!(
                "src/{}:{line} imports from {named}",
                inside.display()
            ));
        }
    }
    assert!(read > 0, "no file of any room was read");
    assert!(
        faults.is_empty(),
        "arrows that point up:\n{}",
        faults.join("\n")
    );
}

#[test]
fn an_arrow_that_points_up_is_found_in_every_way_to_write_it() {
    for up in [
        "use crate::drain::Plan;",
        "use crate::{config::Config, drain::{Plan, Report}, session};",
        "use crate::{\n    config::{A, B},\n    drain,\n};",
        "fn f() { crate::drain::start(); }",
        "pub(crate) use crate::drain;",
    ] {
        let found = upward_arrows("relay", up);
        assert!(
            matches!(&found[..], [(_, room)] if room == "drain"),
            "{up}: {found:?}"
        );
    }
    for fine in [
        "use crate::net::bind;",
        "use crate::{config, session::Kind};",
        "use crate::relay::pump::Pump;",
        "//! See [`crate::drain`].",
        "use super::Half;",
    ] {
        assert_eq!(upward_arrows("relay", fine), [], "{fine}");
    }
}
