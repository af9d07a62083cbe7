//! A table: for the terminal, and for BENCHMARKS.md.

use std::fmt;

use crate::stats::shown;

/// The answer to one question.
pub(crate) struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<S: Into<String>>(
        title: impl Into<String>,
        head: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            title: title.into(),
            head: head.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// One of figures that have an aim.
    pub(crate) fn of_figures(title: impl Into<String>) -> Self {
        Self::new(title, ["figure", "unit", "value", "aim"])
    }

    pub(crate) fn row<S: Into<String>>(&mut self, row: impl IntoIterator<Item = S>) {
        self.rows.push(row.into_iter().map(Into::into).collect());
    }

    /// A figure that should be below its aim.
    pub(crate) fn below(&mut self, name: &str, unit: &str, value: f64, aim: f64) {
        let verdict = if value < aim { "kept" } else { "missed" };
        self.row([
            name.to_owned(),
            unit.to_owned(),
            shown(value),
            format!("below {aim}: {verdict}"),
        ]);
    }

    /// A figure that is only told.
    pub(crate) fn told(&mut self, name: &str, unit: &str, value: impl Into<String>) {
        self.row([
            name.to_owned(),
            unit.to_owned(),
            value.into(),
            String::new(),
        ]);
    }

    pub(crate) fn as_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        let rule = vec!["---".to_owned(); self.head.len()];
        format!(
            "**{}**\n\n{}{}{rows}\n",
            self.title,
            line(&self.head),
            line(&rule)
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.title)?;
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            let widths = all().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        for row in all() {
            write!(f, "\n ")?;
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                match column {
                    0 => write!(f, " {cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
        }
        Ok(())
    }
}
