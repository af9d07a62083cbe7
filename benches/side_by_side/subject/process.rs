//! A subject's process, from its start to its end.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Relay, Setup, caddy, envoy, haproxy, nginx};
use crate::Result;
use crate::rig::certificate::Certificate;
use crate::rig::child::{START, first_match, free_address};
use crate::rig::{floor, lameduck};
use crate::workload::Workload;

/// How long a process may take to leave.
const LEAVE: Duration = Duration::from_secs(5);

/// A relay that runs; it ends with this value.
pub(crate) struct Subject {
    relay: Relay,
    process: Child,
    /// Where its clients go.
    pub(crate) address: SocketAddr,
    _files: TempDir,
}

impl Subject {
    /// Starts it in front of `agent`, on the cores of the calling thread, and waits until it listens.
    pub(crate) fn start(
        relay: Relay,
        workload: &Workload,
        agent: SocketAddr,
        program: &Path,
        certificate: &Certificate,
    ) -> Result<Self> {
        let files = TempDir::new()?;
        let certificate = match workload.tls {
            true => Some(certificate.write(files.path())?),
            false => None,
        };
        let setup = Setup {
            speaks: workload.speaks,
            traffic: workload.traffic,
            listen: free_address()?,
            agent,
            certificate: certificate.as_deref(),
            dir: files.path(),
        };
        let (mut process, address) = match relay {
            Relay::Floor => floor::spawn(agent)?,
            Relay::Lameduck => {
                let start = lameduck::Start {
                    program,
                    scheme: setup.speaks.scheme(),
                    agent,
                    workers: Some(1),
                    health: lameduck::ANY_PORT,
                };
                let mut child = match setup.certificate {
                    Some(file) => lameduck::secure_command(start, file, setup.dir)?.spawn()?,
                    None => lameduck::command(start).spawn()?,
                };
                let log = child.stderr.take().ok_or("no stderr")?;
                (child, first_match(log, lameduck::clients_listening))
            }
            Relay::Haproxy => (haproxy::command(&setup)?.spawn()?, Ok(setup.listen)),
            Relay::Nginx => (nginx::command(&setup)?.spawn()?, Ok(setup.listen)),
            Relay::Envoy => (envoy::command(&setup)?.spawn()?, Ok(setup.listen)),
            Relay::Caddy => (caddy::command(&setup)?.spawn()?, Ok(setup.listen)),
        };
        let ready = address.and_then(|address| {
            wait_until_it_accepts(&mut process, address)?;
            Ok(address)
        });
        match ready {
            Ok(address) => Ok(Self {
                relay,
                process,
                address,
                _files: files,
            }),
            Err(error) => {
                end(relay, &mut process);
                Err(format!("{relay} did not start: {error}").into())
            }
        }
    }

    /// Whether the process is still there.
    pub(crate) fn state(&mut self) -> String {
        match self.process.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            Ok(None) => "it is still running".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// The process, or the parent of those it consists of.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        end(self.relay, &mut self.process);
    }
}

fn end(relay: Relay, process: &mut Child) {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    if let (Relay::Lameduck, Some(pid), Some(_)) =
        (relay, pid, std::env::var_os("LLVM_PROFILE_FILE"))
    {
        leave(process, pid);
    }
    // nginx's master has to take its worker with it; the others have nothing that needs to be tidied.
    match pid {
        Some(pid) if relay == Relay::Nginx => drop(kill_process(pid, Signal::TERM)),
        _ => drop(process.kill()),
    }
    let _ = process.wait();
}

/// Has a process leave that writes at its end what it has recorded of itself: asked twice, it does so in a
/// second. Two signals at once would be one.
fn leave(process: &mut Child, pid: Pid) {
    let end = Instant::now() + LEAVE;
    while let (Ok(None), true) = (process.try_wait(), Instant::now() < end) {
        let _ = kill_process(pid, Signal::INT);
        #[allow(
            clippy::disallowed_methods,
            reason = "asked again at once, it would have heard one signal"
        )]
        std::thread::sleep(LEAVE / 20);
    }
}

fn wait_until_it_accepts(process: &mut Child, address: SocketAddr) -> Result<()> {
    let give_up = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.try_wait()? {
            return Err(format!("it ended with {status}").into());
        }
        if Instant::now() > give_up {
            return Err(format!("nothing accepts on {address}").into());
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "nobody tells when another program is ready"
        )]
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
