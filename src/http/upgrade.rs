//! From the handshake to the pump: after the 101 both raw sockets are taken back, with what had
//! been read ahead, and relayed as data.

use std::net::TcpStream;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use crate::net::tls::Layer;
use crate::relay::{Speech, Tunnel};
use crate::session::{Kind, Outcome};

use super::agent_io::AgentIo;
use super::body::ResponseBody;
use super::conn::Conn;
use super::fields;
use super::io::ClientIo;
use super::pool::Lease;
use super::server::Site;

/// Passes the agent's 101 on, and has the pump take over once it is written.
pub(super) fn hand_over(
    site: &Rc<Site>,
    conn: &Rc<Conn>,
    response: Response<Incoming>,
    client_side: OnUpgrade,
    agent_side: OnUpgrade,
    lease: Lease,
) -> Response<ResponseBody> {
    let (mut parts, _) = response.into_parts();
    let protocol = parts.headers.get(UPGRADE).cloned();
    let is_websocket = protocol.as_ref().is_some_and(is_websocket);
    fields::strip_hop_by_hop(&mut parts.headers);
    parts
        .headers
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.insert(UPGRADE, protocol);
    }

    // Opened before the request ends, so that there is no moment at which neither is counted.
    let (kind, speech) = match is_websocket {
        true => (Kind::Websocket, Speech::Websocket),
        false => (Kind::Tcp, Speech::Bytes),
    };
    let mut counted = site.ledger.open(site.listener, kind);
    conn.hand_record_on(&mut counted, StatusCode::SWITCHING_PROTOCOLS);
    let ticket = conn.take_ticket();
    conn.complete(Outcome::Finished);

    let (site_, conn) = (Rc::clone(site), Rc::clone(conn));
    site.tasks.spawn(async move {
        let (Ok(client_side), Ok(agent_side)) = tokio::join!(client_side, agent_side) else {
            // One of them has gone in between; the session counts as failed.
            return;
        };
        // The agent's connection was HTTP's until here.
        let seat = lease.into_seat();
        let (
            Some((client, client_tls, to_upstream)),
            Some((upstream, upstream_tls, to_client)),
            Some(connected),
        ) = (
            client_socket(client_side),
            agent_socket(agent_side),
            conn.connected.borrow_mut().take(),
        )
        else {
            return;
        };
        let counted = Some(counted);
        let client_addr = conn.client;
        let client_key = conn.key.borrow_mut().take();
        drop(conn);
        let tunnel = Tunnel {
            client,
            client_tls,
            upstream,
            upstream_tls,
            seat,
            to_upstream,
            to_client,
            speech,
            goodbye: Rc::clone(&site_.goodbye),
            connected,
            counted,
            client_addr,
            client_key,
            ticket,
            max_message: site_.max_message(),
        };
        if let Err(e) = site_.pump.open(tunnel) {
            tracing::warn!(error = %e, "an upgraded session could not be watched");
        }
    });
    Response::from_parts(parts, ResponseBody::whole(Bytes::new()))
}

fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

fn client_socket(upgraded: Upgraded) -> Option<(TcpStream, Option<Box<Layer>>, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<ClientIo>>().ok()?;
    let stream = parts.io.into_inner().into_stream();
    let (socket, tls) = stream.into_parts().ok()?;
    Some((socket, tls, parts.read_buf))
}

fn agent_socket(upgraded: Upgraded) -> Option<(socket2::Socket, Option<Box<Layer>>, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<AgentIo>>().ok()?;
    let (socket, tls) = parts.io.into_inner().socket.into_parts().ok()?;
    Some((socket, tls, parts.read_buf))
}
