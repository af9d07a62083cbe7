//! The secret of the control API, which stands in a file of its own.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::value::Wrong;

/// Far above any secret; what is longer is another file.
const LONGEST: u64 = 4096;

const HELP: &str = "write one line of letters, digits and any of -._~+/= into it, such as what \
                    `openssl rand -hex 32` prints";

/// A bearer token (RFC 6750, section 2.1). It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Reads the token that a file holds; white space around it is no part of it.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or holds what cannot stand in a header field.
    pub fn read(path: &Path) -> Result<Token, Wrong> {
        let shown = path.display();
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
            .map_err(|error| Wrong {
                what: format!("cannot read `{shown}`: {error}"),
                help: "name a file that holds the token and that this user may read".to_owned(),
            })?;
        if text.len() as u64 > LONGEST {
            return Err(Wrong {
                what: format!("`{shown}` is longer than {LONGEST} bytes"),
                help: HELP.to_owned(),
            });
        }
        Token::new(&text).map_err(|why| Wrong {
            what: format!("`{shown}` {why}"),
            help: HELP.to_owned(),
        })
    }

    /// The token in a text.
    pub(super) fn new(text: &str) -> Result<Token, &'static str> {
        let text = text.trim();
        let legal = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        if text.is_empty() {
            return Err("is empty");
        }
        if !text.chars().all(legal) {
            return Err("holds characters that no token has");
        }
        Ok(Token(text.into()))
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(text: &str) -> Result<Token, Wrong> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Token::read(file.path())
    }

    #[test]
    fn a_token_is_one_line_and_stays_out_of_logs() {
        let token = read("s3cret-._~+/=\n").unwrap();
        assert_eq!(token.as_str(), "s3cret-._~+/=");
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_file_without_one_is_refused() {
        for (text, what) in [
            ("\n", "is empty"),
            ("two words", "no token has"),
            ("one\ntwo", "no token has"),
            (&"a".repeat(5000), "is longer than 4096 bytes"),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.what.contains(what), "{wrong:?}");
        }
        let wrong = Token::read(Path::new("/no/such/file")).unwrap_err();
        assert!(
            wrong.what.contains("cannot read `/no/such/file`"),
            "{wrong:?}"
        );
    }
}
