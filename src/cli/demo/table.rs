//! The verdict as people read it.

use std::io::{self, Write};

use super::ledger::Account;
use super::verdict::{Row, Verdict};

/// Writes the table and the sentences under it.
pub(super) fn write(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    let cells: Vec<[String; 6]> = verdict.rows.iter().map(|row| cells(row, verdict)).collect();
    let titles = if verdict.compared {
        [
            "",
            "sessions",
            "client to agent",
            "agent to client",
            "crossed",
            "lost",
        ]
    } else {
        ["", "sessions", "sent", "received", "unanswered", "lost"]
    };
    let mut widths = titles.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    writeln!(out)?;
    write_row(out, &titles, &widths)?;
    writeln!(out, "  what became of them")?;
    for (row, cells) in verdict.rows.iter().zip(&cells) {
        write_row(out, &cells.each_ref().map(String::as_str), &widths)?;
        for (number, (end, count)) in row.ends.iter().enumerate() {
            if number > 0 {
                write_row(out, &[""; 6], &widths)?;
            }
            writeln!(out, "  {} {end}", thousands(*count as u64))?;
        }
    }
    writeln!(out)?;
    sentences(out, verdict)?;
    out.flush()
}

fn cells(row: &Row, verdict: &Verdict) -> [String; 6] {
    let Account {
        up_sent,
        up_arrived,
        down_sent,
        down_arrived,
        crossed,
        lost,
        ..
    } = row.account;
    let (up, down) = if verdict.compared {
        (of(up_arrived, up_sent), of(down_arrived, down_sent))
    } else {
        (thousands(up_sent), thousands(down_arrived))
    };
    [
        row.traffic.name().to_owned(),
        thousands(row.sessions as u64),
        up,
        down,
        thousands(crossed),
        thousands(lost),
    ]
}

fn write_row(out: &mut dyn Write, cells: &[&str; 6], widths: &[usize; 6]) -> io::Result<()> {
    let [name, rest @ ..] = cells;
    let [name_width, rest_widths @ ..] = widths;
    write!(out, "  {name:<name_width$}")?;
    for (cell, width) in rest.iter().zip(rest_widths) {
        write!(out, "  {cell:>width$}")?;
    }
    Ok(())
}

fn sentences(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    let Account {
        crossed,
        lost,
        wrong,
        ..
    } = verdict.total;
    if verdict.compared && crossed > 0 {
        writeln!(
            out,
            "{} of the agent crossed the end of its session: sent when the Close, or FIN, was \
             already on\nits way to the client, behind which nothing can be delivered.",
            messages(crossed)
        )?;
    }
    if wrong > 0 {
        writeln!(
            out,
            "{} came damaged, twice or out of order.",
            messages(wrong)
        )?;
    }
    writeln!(
        out,
        "{} of {} sessions ended cleanly, and {} lost.",
        thousands(verdict.clean as u64),
        thousands(verdict.sessions as u64),
        match lost {
            0 => "no message was".to_owned(),
            1 => "1 message was".to_owned(),
            more => format!("{} messages were", thousands(more)),
        }
    )
}

fn messages(count: u64) -> String {
    if count == 1 {
        "1 message".to_owned()
    } else {
        format!("{} messages", thousands(count))
    }
}

/// `3 of 4`, or only the number when it is all of them.
fn of(arrived: u64, sent: u64) -> String {
    if arrived == 0 && sent == 0 {
        "-".to_owned()
    } else if arrived == sent {
        format!("all {}", thousands(sent))
    } else {
        format!("{} of {}", thousands(arrived), thousands(sent))
    }
}

/// A number with a comma after each three digits.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::ledger::Traffic;

    #[test]
    fn numbers_are_written_in_groups_of_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn the_table_shows_what_was_lost_and_every_end() {
        let account = Account {
            up_sent: 1200,
            up_arrived: 1200,
            down_sent: 10,
            down_arrived: 7,
            crossed: 1,
            lost: 2,
            wrong: 0,
        };
        let ends = vec![
            ("closed with 1012 between messages".to_owned(), 4),
            ("NOT CLEAN: no Close".to_owned(), 1),
        ];
        let verdict = Verdict {
            rows: vec![Row {
                traffic: Traffic::Chat,
                sessions: 5,
                ends,
                account,
            }],
            clean: 4,
            sessions: 5,
            total: account,
            compared: true,
        };
        let mut out = Vec::new();
        write(&mut out, &verdict).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "
                   sessions  client to agent  agent to client  crossed  lost  what became of them
  websocket, chat         5        all 1,200          7 of 10        1     2  4 closed with 1012 between messages
                                                                              1 NOT CLEAN: no Close

1 message of the agent crossed the end of its session: sent when the Close, or FIN, was already on
its way to the client, behind which nothing can be delivered.
4 of 5 sessions ended cleanly, and 2 messages were lost.
"
        );
    }
}
