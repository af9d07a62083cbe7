//! The closed sets that label every count.

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their indices.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The value of the metric label.
            pub fn label(self) -> &'static str {
                match self { $($name::$variant => $label,)+ }
            }

            /// The place in [`Self::ALL`].
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// What a session is.
    Kind {
        /// A raw TCP connection, or an upgrade other than WebSocket.
        Tcp = "tcp",
        /// A WebSocket.
        Websocket = "websocket",
        /// An event stream.
        Sse = "sse",
        /// A gRPC call or stream.
        Grpc = "grpc",
        /// An HTTP request in flight.
        Http = "http",
    }
}

labels! {
    /// How a session ended.
    Outcome {
        /// By itself.
        Finished = "finished",
        /// Its upstream half went to another agent.
        Migrated = "migrated",
        /// Asked to go, and went cleanly.
        Closed = "closed",
        /// The deadline came first.
        Cut = "cut",
        /// A network or upstream error.
        Failed = "failed",
    }
}

labels! {
    /// Which way bytes go.
    Direction {
        /// From the client to the agent.
        ToUpstream = "to_upstream",
        /// From the agent to the client.
        ToClient = "to_client",
    }
}

labels! {
    /// Why a new session was not taken.
    Refusal {
        /// The drain no longer takes new sessions.
        Draining = "draining",
        /// The limit on connections is reached.
        Overload = "overload",
        /// The request was malformed, or could be read two ways.
        BadRequest = "bad_request",
        /// No endpoint of the upstream could be reached.
        Upstream = "upstream",
        /// The handshake of TLS failed, or took too long.
        TlsHandshake = "tls_handshake",
        /// As many handshakes were under way as may be.
        TlsCrowd = "tls_crowd",
        /// It came from where no PROXY protocol header is taken.
        UntrustedProxy = "proxy_untrusted",
        /// It did not begin with a PROXY protocol header, or not in time.
        ProxyHeader = "proxy_header",
        /// The listener has as many sessions as it may.
        Sessions = "max_sessions",
        /// The client has as many sessions as it may.
        ClientSessions = "max_sessions_per_client",
        /// The client makes too many connections.
        ConnectionRate = "connections_per_second",
        /// The client makes too many requests.
        RequestRate = "requests_per_second",
        /// The request's body is too large.
        RequestBody = "max_request_body",
        /// A WebSocket message was too large.
        WebsocketMessage = "max_websocket_message",
        /// The client sends too slowly.
        MinSpeed = "min_speed",
        /// The client does not read what is sent to it.
        Stalled = "stalled_timeout",
        /// Too much was held for clients that do not read.
        HeldBytes = "max_held_bytes",
    }
}
