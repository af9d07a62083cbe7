//! `[access_log]`.

use std::path::PathBuf;

use crate::config::section::{Found, Section};
use crate::config::types::LogFormat;
use crate::config::value;

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it goes.
    pub to: AccessLogTo,
    /// How a line looks.
    pub format: LogFormat,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTo {
    /// Standard output.
    Stdout,
    /// A file, which is made if it is not there and appended to if it is.
    File(PathBuf),
}

/// As it was read.
pub(in crate::config) struct RawAccessLog {
    path: Found<Option<PathBuf>>,
    format: Found<LogFormat>,
}

impl RawAccessLog {
    pub(in crate::config) fn read(table: &mut Section<'_>) -> Self {
        Self {
            path: table.read("path", value::file, None),
            format: table.read("format", value::log_format, LogFormat::Json),
        }
    }

    pub(in crate::config) fn into_access_log(self) -> Option<AccessLog> {
        let path = self.path.value?;
        let to = match path.to_str() {
            Some("stdout") => AccessLogTo::Stdout,
            _ => AccessLogTo::File(path),
        };
        Some(AccessLog {
            to,
            format: self.format.value,
        })
    }
}
