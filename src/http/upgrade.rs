//! From the handshake to the pump: after the 101 both raw sockets are taken back, with what had
//! been read ahead, and relayed as data.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::net::Seat;
use crate::net::tls::Layer;
use crate::relay::{Guest, Place, Speech, Tunnel};
use crate::session::{Counted, Kind, Outcome, Ticket};

use super::agent_body::AgentBody;
use super::agent_io::AgentIo;
use super::body::ResponseBody;
use super::client_stream::ClientStream;
use super::conn::Conn;
use super::fields;
use super::pool::{Lease, Switched};
use super::server::Site;

/// A session that goes on without hyper once the client has its 101.
#[derive(Debug)]
pub(super) struct Upgrade {
    agent: AgentSide,
    counted: Counted,
    ticket: Option<Box<Ticket>>,
    speech: Speech,
}

/// Where the agent's socket is.
#[derive(Debug)]
enum AgentSide {
    /// In hyper's hands, whose connection lives as long as its lease.
    Hyper(OnUpgrade, Lease),
    /// In the pump's, with what was read beyond the 101, and the session's seat on its endpoint.
    Pump(Guest, Bytes, Seat),
}

/// What the pump takes over of an agent.
struct AgentParts {
    socket: socket2::Socket,
    tls: Option<Box<Layer>>,
    /// Read ahead.
    early: Bytes,
    seat: Seat,
    /// Where its socket is watched, if it is.
    place: Option<Place>,
}

/// Passes the agent's 101 on, which was read by hyper.
pub(super) fn accept(
    site: &Site,
    conn: &Conn,
    mut response: Response<AgentBody>,
    lease: Lease,
) -> Response<ResponseBody> {
    let agent = AgentSide::Hyper(hyper::upgrade::on(&mut response), lease);
    pass_on(site, conn, response.map(drop), agent)
}

/// Passes the agent's 101 on, whose connection was never hyper's.
pub(super) fn accept_switched(
    site: &Site,
    conn: &Conn,
    switched: Switched,
) -> Response<ResponseBody> {
    let agent = AgentSide::Pump(switched.agent, switched.rest, switched.seat);
    pass_on(site, conn, switched.head, agent)
}

/// Passes a 101 on, and notes what the connection goes on as when it is written.
fn pass_on(
    site: &Site,
    conn: &Conn,
    mut response: Response<()>,
    agent: AgentSide,
) -> Response<ResponseBody> {
    let headers = response.headers_mut();
    let protocol = headers.get(UPGRADE).cloned();
    let is_websocket = protocol.as_ref().is_some_and(is_websocket);
    fields::strip_hop_by_hop(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }

    // Opened before the request ends, so that there is no moment at which neither is counted.
    let (kind, speech) = match is_websocket {
        true => (Kind::Websocket, Speech::Websocket),
        false => (Kind::Tcp, Speech::Bytes),
    };
    let mut counted = site.ledger.open(site.listener, kind);
    conn.hand_record_on(&mut counted, StatusCode::SWITCHING_PROTOCOLS);
    let upgrade = Upgrade {
        agent,
        counted,
        ticket: conn.take_ticket(),
        speech,
    };
    conn.goes_on_as(upgrade);
    conn.complete(Outcome::Finished);
    response.map(|()| ResponseBody::whole(Bytes::new()))
}

impl Upgrade {
    /// Has the pump take over, with what was read of the client beyond its request.
    pub(super) async fn go_on(
        self: Box<Self>,
        site: &Site,
        conn: &Conn,
        client: ClientStream,
        to_upstream: Bytes,
    ) {
        // Who has gone in between leaves a session that counts as failed.
        let Some(agent) = self.agent.into_parts().await else {
            return;
        };
        let (Ok((client, client_tls)), Some(connected)) =
            (client.into_parts(), conn.connected.borrow_mut().take())
        else {
            return;
        };
        let tunnel = Tunnel {
            client,
            client_tls,
            upstream: agent.socket,
            upstream_tls: agent.tls,
            seat: agent.seat,
            to_upstream,
            to_client: agent.early,
            speech: self.speech,
            goodbye: Rc::clone(&site.goodbye),
            connected,
            counted: Some(self.counted),
            client_addr: conn.client,
            client_key: conn.key.borrow_mut().take(),
            ticket: self.ticket,
            max_message: site.max_message(),
        };
        let opened = match agent.place {
            Some(place) => site.pump.open_at(place, tunnel),
            None => site.pump.open(tunnel),
        };
        if let Err(e) = opened {
            tracing::warn!(error = %e, "an upgraded session could not be watched");
        }
    }
}

impl AgentSide {
    /// Takes it from whoever has it; none when it has gone.
    async fn into_parts(self) -> Option<AgentParts> {
        match self {
            AgentSide::Pump(guest, early, seat) => {
                let (socket, place) = guest.into_parts();
                Some(AgentParts {
                    socket,
                    tls: None,
                    early,
                    seat,
                    place: Some(place),
                })
            }
            AgentSide::Hyper(upgraded, lease) => {
                let parts = upgraded.await.ok()?.downcast::<TokioIo<AgentIo>>().ok()?;
                let (socket, tls) = parts.io.into_inner().socket.into_parts().ok()?;
                Some(AgentParts {
                    socket,
                    tls,
                    early: parts.read_buf,
                    // The agent's connection was HTTP's until here.
                    seat: lease.into_seat(),
                    place: None,
                })
            }
        }
    }
}

fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}
