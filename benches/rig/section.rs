//! The parts of a document that a bench writes: whatever stands between two markers is written anew.

use std::fs;
use std::path::Path;

use crate::Result;

/// Puts the text between the markers of this name in the file.
pub(crate) fn write(file: &Path, name: &str, text: &str) -> Result<()> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->\n"),
    );
    let whole = fs::read_to_string(file)?;
    let missing = || format!("{} has no section {name} between markers", file.display());
    let (before, rest) = whole.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(fs::write(
        file,
        format!("{before}{begin}{text}{end}{after}"),
    )?)
}
