//! Socket activation: by hand, as systemd does it, and by systemd's own tool where it is installed.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Proxy, QUICK, anywhere, clean, config, echoed, eventually, lameduck};

/// The binary, with a socket at descriptor 3 that has this name.
fn with_socket(socket: impl Into<OwnedFd>, name: &str) -> Command {
    // LISTEN_PID has to be the pid of the process that is exec'ed in the end.
    const SCRIPT: &str = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    clean(&mut command);
    command
        .args(["-c", SCRIPT, env!("CARGO_BIN_EXE_lameduck")])
        .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", name)])
        .stdin(Stdio::from(socket.into()));
    command
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

#[test]
fn a_listener_takes_the_socket_of_its_name_or_of_its_address() {
    let (socket, addr) = listener();
    let named = with_socket(socket, "raw");
    let proxy = Proxy::start_as(named, config(anywhere(), QUICK));
    assert_eq!(proxy.raw, addr);
    proxy.session();

    let (socket, addr) = listener();
    let unit = with_socket(socket, "lameduck.socket");
    let proxy = Proxy::start_as(unit, config(addr, QUICK));
    assert_eq!(proxy.raw, addr);
    proxy.session();
}

#[test]
fn the_control_api_and_health_take_theirs() {
    let (socket, addr) = listener();
    let proxy = Proxy::start_as(with_socket(socket, "admin"), config(anywhere(), QUICK));
    assert_eq!(proxy.admin, addr);
    assert_eq!(proxy.call("GET", "/v1/status")["phase"], "serving");

    let (socket, addr) = listener();
    let _proxy = Proxy::start_as(with_socket(socket, "health"), config(anywhere(), QUICK));
    TcpStream::connect(addr).unwrap();
}

#[test]
fn a_socket_that_fits_nothing_is_told_by_its_name_and_ends_the_start() {
    let (tcp, addr) = listener();
    let addr = addr.to_string();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let cases: [(OwnedFd, &str, &[&str]); 4] = [
        (
            tcp.into(),
            "lameduck.socket",
            &["`lameduck.socket`", &addr, "fits nothing"],
        ),
        (
            udp.try_clone().unwrap().into(),
            "raw",
            &["`raw`", "no listening TCP socket"],
        ),
        (
            udp.into(),
            "",
            &["descriptor 3", "no name", "no listening TCP or unix socket"],
        ),
        (
            everywhere.into(),
            "admin",
            &["admin.bind", "admin.token_file"],
        ),
    ];
    for (socket, name, words) in cases {
        let config = config(anywhere(), QUICK);
        let mut command = with_socket(socket, name);
        let command = command.args(["run", "-c", config.path().to_str().unwrap()]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

#[test]
fn who_comes_between_two_processes_is_served_by_the_second() {
    let (socket, addr) = listener();
    let share = || with_socket(socket.try_clone().unwrap(), "raw");
    let mut first = Proxy::start_as(share(), config(anywhere(), QUICK));
    let held = first.session();
    first.signal(Signal::TERM);
    first.enters("closing");
    // A raw TCP listener takes nobody any more; its socket does.
    let mut during = TcpStream::connect(addr).unwrap();
    drop(held);
    assert_eq!(first.ended().code(), Some(0));
    let mut after = TcpStream::connect(addr).unwrap();

    let _second = Proxy::start_as(share(), config(anywhere(), QUICK));
    echoed(&mut during);
    echoed(&mut after);
    echoed(&mut TcpStream::connect(addr).unwrap());
}

#[test]
fn who_comes_during_a_drain_that_is_cancelled_is_served_after_it() {
    let (socket, addr) = listener();
    let proxy = Proxy::start_as(with_socket(socket, "raw"), config(anywhere(), QUICK));
    proxy.call("POST", "/v1/drain");
    proxy.enters("drained");
    let mut early = TcpStream::connect(addr).unwrap();
    proxy.call("DELETE", "/v1/drain");
    echoed(&mut early);
    proxy.session();
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let (socket, _) = listener();
    let mut command = lameduck();
    command
        .envs([
            ("LISTEN_FDS", "1"),
            ("LISTEN_PID", "1"),
            ("LISTEN_FDNAMES", "x"),
        ])
        .stdin(Stdio::from(OwnedFd::from(socket)));
    Proxy::start_as(command, config(anywhere(), QUICK)).session();
}

#[test]
fn systemds_own_tool_hands_its_socket_over() {
    const TOOL: &str = "/usr/bin/systemd-socket-activate";
    if !Path::new(TOOL).exists() {
        eprintln!("not checked: there is no {TOOL}");
        return;
    }
    let (socket, addr) = listener();
    drop(socket);
    let mut command = Command::new(TOOL);
    clean(&mut command);
    let listen = format!("--listen={addr}");
    command.args([&listen, "--fdname=raw", env!("CARGO_BIN_EXE_lameduck")]);
    // It starts the program with the first connection.
    let first = std::thread::spawn(move || {
        let mut stream = eventually("the tool listens", || TcpStream::connect(addr).ok());
        echoed(&mut stream);
    });
    let proxy = Proxy::start_as(command, config(anywhere(), QUICK));
    first.join().unwrap();
    assert_eq!(proxy.raw, addr);
}
