//! `[platform.gcp]`.

use crate::config::section::{Found, Origin, Section};
use crate::config::value;

/// Notices of virtual machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Gcp {
    /// Where the metadata service is, the beginning of its URLs; if none, the environment says so.
    pub endpoint: Option<String>,
}

/// `[platform.gcp]`.
pub(super) struct RawGcp {
    endpoint: Found<Option<String>>,
}

impl RawGcp {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        let none = Found {
            value: None,
            origin: Origin::Default,
        };
        let said = "GCE_METADATA_HOST, or http://metadata.google.internal";
        Self {
            endpoint: table.read_or("endpoint", value::own_metadata_url, &none, said),
        }
    }

    pub(super) fn into_gcp(self) -> Gcp {
        Gcp {
            endpoint: self.endpoint.value,
        }
    }
}
