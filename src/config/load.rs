//! From a file, flags and the environment to a [`Config`], or to every reason against it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use super::finding::{Faults, Finding, Severity, Source};
use super::overrides::Overrides;
use super::route::RawRoute;
use super::rules;
use super::schema::{Raw, RawDrain, RawHooks, RawHttp, RawListener, RawUpstream};
use super::section::{Found, Reader};
use super::token::Token;
use super::types::{
    Admin, Config, Drain, Endpoint, Goodbye, Health, Hooks, Http, LateArrivals, Listener, Log,
};
use super::upstream::{Balance, Upstream};
use super::value::Wrong;

/// A configuration to run with.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the program runs with.
    pub config: Config,
    /// What is legal but dangerous in it, in the order of the file.
    pub warnings: Vec<Finding>,
}

/// Reads a configuration file, if there is one, with `overrides` over it.
///
/// # Errors
/// Every fault of the file and between its values at once; a file that cannot be read is one.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Loaded, Faults> {
    let Some(path) = path else {
        return parse(None, "", overrides, Token::read);
    };
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        unreadable(
            path,
            &format!(
                "it is not UTF-8 from byte {}",
                error.utf8_error().valid_up_to()
            ),
        )
    })?;
    // Some editors put a byte order mark first, which the parser would count as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let file = path.display().to_string();
    parse(Some(file.into()), text, overrides, Token::read)
}

fn unreadable(path: &Path, why: &str) -> Faults {
    Faults::new(vec![Finding {
        severity: Severity::Error,
        key: String::new(),
        place: None,
        what: format!("cannot read `{}`: {why}", path.display()),
        help: "name a configuration file; config/lameduck.toml shows every key".to_owned(),
    }])
}

/// `read_token` reads the one other file there may be.
pub(super) fn parse(
    file: Option<Arc<str>>,
    text: &str,
    overrides: &Overrides,
    read_token: fn(&Path) -> Result<Token, Wrong>,
) -> Result<Loaded, Faults> {
    let has_file = file.is_some();
    let (table, errors) = DeTable::parse_recoverable(text);
    let reader = Reader::new(Source::new(file, text));
    for error in &errors {
        reader.syntax(error);
    }
    let mut root = reader.root(table.get_ref());
    let mut raw = Raw::read(&mut root);
    overrides.apply(&mut raw, &root, &reader, has_file);
    drop(root);
    rules::check(&raw, &reader, has_file);
    let token = raw.token(&reader, read_token);
    let findings = reader.into_findings();
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        return Err(Faults::new(findings));
    }
    Ok(Loaded {
        config: raw.into_config(token),
        warnings: findings,
    })
}

impl Raw {
    /// The token of the control API, if a file with one is named.
    fn token(&self, reader: &Reader<'_>, read: fn(&Path) -> Result<Token, Wrong>) -> Option<Token> {
        let path = self.token_file.value.as_deref()?;
        match read(path) {
            Ok(token) => Some(token),
            Err(Wrong { what, help }) => {
                reader.error(&self.token_file.origin, "admin.token_file", what, help);
                None
            }
        }
    }

    /// The values alone. To be called when nothing stands reported: then nothing is missing.
    fn into_config(self, token: Option<Token>) -> Config {
        let late = self.drain.late_arrivals.value;
        Config {
            workers: self.workers.value,
            listeners: self
                .listeners
                .value
                .into_iter()
                .filter_map(|listener| listener.into_listener(late))
                .collect(),
            upstreams: self
                .upstreams
                .value
                .into_iter()
                .filter_map(RawUpstream::into_upstream)
                .collect(),
            drain: self.drain.into_drain(),
            limits: self.limits.into_limits(),
            access_log: self.access_log.into_access_log(),
            health: Health {
                bind: self.health.value,
            },
            admin: Admin {
                bind: self.admin.value,
                token,
            },
            log: Log {
                format: self.log_format.value,
                emf: self.emf.value.then_some(self.emf_namespace.value),
            },
            platforms: self.platforms.into_platforms(),
        }
    }
}

impl RawListener {
    fn into_listener(self, late: LateArrivals) -> Option<Listener> {
        let forward_to = self.forward_to.value;
        Some(Listener {
            name: self.name?.value,
            bind: self.bind?.value,
            protocol: self.protocol?.value,
            upstream: self.upstream?.value,
            routes: self
                .routes
                .value
                .into_iter()
                .filter_map(RawRoute::into_route)
                .collect(),
            http: self.http.into_http(),
            goodbye: Goodbye {
                close_code: self.websocket_close_code.value,
                close_reason: self.websocket_close_reason.value,
                close_order: self.close_order.value,
                close_patience: self.close_patience.value,
                announcement: self.websocket_announce.value,
                announce_ahead: self.websocket_announce_ahead.value,
            },
            forward_to: forward_to.filter(|_| late == LateArrivals::Forward),
            tls: self.tls.into_tls(),
            edge: self.edge.into_edge(),
        })
    }
}

impl RawHttp {
    fn into_http(self) -> Http {
        Http {
            header_timeout: self.header_timeout.value,
            idle_timeout: self.idle_timeout.value,
            max_header_bytes: self.max_header_bytes.value.0,
            max_headers: self.max_headers.value,
            forwarded: self.forwarded.value,
            via: self.via.value,
            health_path: self.health_path.value,
            client_key: self.client_key.value,
        }
    }
}

impl RawUpstream {
    fn into_upstream(self) -> Option<Upstream> {
        let values = |endpoints: Vec<Found<Endpoint>>| {
            endpoints
                .into_iter()
                .map(|endpoint| endpoint.value)
                .collect()
        };
        let upstream = Upstream {
            name: self.name?.value,
            endpoints: values(self.endpoints),
            connect_timeout: self.connect_timeout.value,
            response_timeout: self.response_timeout.value,
            idle_timeout: self.idle_timeout.value,
            balance: Balance::Least,
            slow_start: Default::default(),
            resolve_interval: Default::default(),
            check: None,
            eject: None,
            tls: self.tls.into_tls(),
            edge: self.edge.into_edge(),
        };
        Some(self.balancing.into_upstream(upstream))
    }
}

impl RawHooks {
    fn into_hooks(self) -> Hooks {
        Hooks {
            lame_duck: self.lame_duck.value,
            closing: self.closing.value,
            drained: self.drained.value,
            on_close: self.on_close.value,
            timeout: self.timeout.value,
        }
    }
}

impl RawDrain {
    fn into_drain(self) -> Drain {
        Drain {
            window: self.window.value,
            margin: self.margin.value,
            lame_duck_min: self.lame_duck_min.value,
            lame_duck_max: self.lame_duck_max.value,
            lame_duck_quiet: self.lame_duck_quiet.value,
            readiness: self.readiness.value,
            finish: self.finish.value,
            close_timeout: self.close_timeout.value,
            max_closing: self.max_closing.value,
            late_arrivals: self.late_arrivals.value,
            sse_retry: self.sse_retry.value,
            exit_code_when_cut: self.exit_code_when_cut.value,
            exit_when_drained: self.exit_when_drained.value,
            report_file: self.report_file.value,
            hooks: self.hooks.into_hooks(),
        }
    }
}
