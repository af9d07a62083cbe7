//! Platforms that this build of the program knows nothing of, and keys that do not fit together.

use crate::config::schema::Raw;
use crate::config::section::{Origin, Reader};

/// Reports what is wrong with the platforms that are on.
pub(super) fn check(raw: &Raw, reader: &Reader<'_>) {
    raw.platforms.check(reader);
    for (name, origin) in raw.platforms.origins() {
        if *origin != Origin::Default && !name.is_built_in() {
            let what = format!("this build of lameduck was made without {name}");
            let help = format!("leave it out, or build with the cargo feature `{name}`");
            reader.error(origin, &format!("platform.{name}"), what, help);
        }
    }
}
