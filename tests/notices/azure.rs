//! Scheduled events, from a fake of the metadata service.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Asked, PATIENCE, Proxy, QUICK, SLOW, fake};

/// What the service takes to answer an acknowledgement: several times `poll`.
const SLOW_ANSWER: Duration = Duration::from_millis(200);

/// The metadata service of a machine called `vm_1`.
struct Service {
    /// What stands in `Events`.
    events: Arc<Mutex<String>>,
    posted: Receiver<String>,
    tables: String,
}

#[allow(
    clippy::disallowed_methods,
    reason = "a slow service on a thread of its own, which nobody waits for"
)]
fn service(more: &str) -> Service {
    let events = Arc::new(Mutex::new(String::new()));
    let (tell, posted) = channel();
    let shown = Arc::clone(&events);
    let addr = fake(move |asked: &Asked| {
        let plain = |status, body: String| (status, String::new(), body);
        if !asked.head.contains("metadata: true\r\n") {
            return plain(400, "no header".into());
        }
        match (asked.method.as_str(), asked.target.as_str()) {
            ("GET", "/metadata/instance/compute/name?api-version=2021-02-01&format=text") => {
                plain(200, "vm_1".into())
            }
            ("GET", "/metadata/scheduledevents?api-version=2020-07-01") => {
                let events = shown.lock().unwrap();
                plain(
                    200,
                    format!("{{\"DocumentIncarnation\":1,\"Events\":[{events}]}}"),
                )
            }
            ("POST", "/metadata/scheduledevents?api-version=2020-07-01") => {
                let _ = tell.send(asked.body.clone());
                // Several looks at the events fall into the time that an answer takes.
                std::thread::sleep(SLOW_ANSWER);
                plain(200, String::new())
            }
            _ => plain(404, String::new()),
        }
    });
    let tables = format!("[platform.azure]\nendpoint = \"http://{addr}\"\npoll = \"50ms\"\n{more}");
    Service {
        events,
        posted,
        tables,
    }
}

impl Service {
    fn show(&self, events: &[(&str, &str, &str)]) {
        let not_before = "Mon, 19 Sep 2044 18:29:47 GMT";
        let events = events.iter().map(|(id, kind, resources)| {
            format!(
                "{{\"EventId\":\"{id}\",\"EventType\":\"{kind}\",\"EventStatus\":\"Scheduled\",\
                 \"ResourceType\":\"VirtualMachine\",\"Resources\":[{resources}],\
                 \"NotBefore\":\"{not_before}\"}}"
            )
        });
        *self.events.lock().unwrap() = events.collect::<Vec<_>>().join(",");
    }
}

#[test]
fn an_event_of_this_machine_alone_drains_it_and_is_acknowledged() {
    let service = service("");
    let proxy = Proxy::start(&format!("{QUICK}{}", service.tables));
    service.show(&[
        ("E0", "Terminate", "\"vm_2\""),
        ("E1", "Freeze", "\"vm_1\""),
        ("E2", "Preempt", "\"vm_1\""),
    ]);
    let begins = proxy.says("drain begins");
    assert_eq!(
        (&begins["trigger"], &begins["reason"]),
        (&"azure".into(), &"Preempt E2".into())
    );
    let posted = service.posted.recv_timeout(PATIENCE).expect("acknowledged");
    assert_eq!(posted, "{\"StartRequests\":[{\"EventId\":\"E2\"}]}");
    assert_eq!(proxy.says("acknowledged")["event"], "Preempt E2");
    // It is gone because it has begun: nobody serves again for that.
    service.show(&[]);
    service.show(&[("E3", "Reboot", "\"vm_1\",\"vm_2\"")]);
    assert_eq!(
        proxy.says("the platform wants the process to go")["sign"],
        "Reboot E3"
    );
    let not = proxy.says("not acknowledged: the event is other machines' too");
    assert_eq!(not["event"], "Reboot E3");
    assert_eq!(proxy.call("GET", "/v1/status")["phase"], "drained");
    assert!(
        service.posted.try_recv().is_err(),
        "nothing else was acknowledged"
    );
}

#[test]
fn an_event_that_is_withdrawn_lets_the_machine_serve_again() {
    let service = service("on_freeze = \"drain\"\n");
    let proxy = Proxy::start(&format!("{SLOW}{}", service.tables));
    service.show(&[("E1", "Freeze", "\"vm_1\"")]);
    proxy.enters("lame_duck");
    service.show(&[]);
    proxy.enters("serving");
    assert_eq!(
        proxy.call("GET", "/v1/status")["platforms"]["azure"]["up"],
        true
    );
}

#[test]
fn a_service_that_does_not_answer_keeps_nobody_from_draining() {
    let nowhere = "[platform.azure]\nendpoint = \"http://127.0.0.1:1\"\nvm_name = \"vm_1\"\n";
    let mut proxy = Proxy::start(&format!("{QUICK}{nowhere}"));
    let warned = proxy.says("the platform does not answer");
    assert_eq!(warned["call"], "events");
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.ended().code(), Some(0));
}
