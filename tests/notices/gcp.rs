//! Preemption and maintenance, from a fake of the metadata service that keeps its callers waiting.

use std::sync::{Arc, Condvar, Mutex};

use crate::harness::{Asked, PATIENCE, Proxy, QUICK, SLOW, anywhere, config, fake, lameduck};

/// The two values, and how often each has changed.
#[derive(Default)]
struct Values {
    preempted: (u32, &'static str),
    maintenance: (u32, &'static str),
    /// Calls that are to be answered with 503.
    busy: u32,
}

#[derive(Clone, Default)]
struct Service(Arc<(Mutex<Values>, Condvar)>);

impl Service {
    fn set(&self, set: impl FnOnce(&mut Values)) {
        let (values, changed) = &*self.0;
        set(&mut values.lock().unwrap());
        changed.notify_all();
    }

    fn answer(&self, asked: &Asked) -> (u16, String, String) {
        if !asked.head.contains("metadata-flavor: google\r\n") {
            return (403, String::new(), String::new());
        }
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let is_preempted = match path {
            "/computeMetadata/v1/instance/preempted" => true,
            "/computeMetadata/v1/instance/maintenance-event" => false,
            _ => return (404, String::new(), String::new()),
        };
        let value = |values: &Values| {
            if is_preempted {
                values.preempted
            } else {
                values.maintenance
            }
        };
        let (values, changed) = &*self.0;
        let mut values = values.lock().unwrap();
        if values.busy > 0 {
            values.busy -= 1;
            return (503, String::new(), String::new());
        }
        if query.contains("wait_for_change=true") {
            let etag = query.split("last_etag=").nth(1).unwrap();
            let same = |values: &mut Values| format!("e{}", value(values).0) == etag;
            values = changed
                .wait_timeout_while(values, PATIENCE, same)
                .unwrap()
                .0;
        }
        let (etag, text) = value(&values);
        (200, format!("ETag: e{etag}\r\n"), text.to_owned())
    }

    fn start(&self, tables: &str) -> Proxy {
        let service = self.clone();
        let addr = fake(move |asked| service.answer(asked));
        let mut command = lameduck();
        command.env("GCE_METADATA_HOST", addr.to_string());
        let tables = format!("{tables}[platform.gcp]\n");
        Proxy::start_as(command, config(anywhere(), &tables))
    }
}

#[test]
fn a_preempted_machine_drains_in_the_time_it_has() {
    let service = Service::default();
    service.set(|values| {
        values.preempted = (0, "FALSE");
        values.maintenance = (0, "NONE");
        values.busy = 3;
    });
    let proxy = service.start(&QUICK.replace("10s", "300s"));
    proxy.says("the platform answers again");
    service.set(|values| values.preempted = (1, "TRUE"));
    let begins = proxy.says("drain begins");
    assert_eq!(begins["trigger"], "gcp");
    assert_eq!(begins["reason"], "preempted TRUE");
    assert_eq!(begins["window"], "30s");
}

#[test]
fn maintenance_that_stops_the_machine_drains_it_until_it_is_called_off() {
    let service = Service::default();
    service.set(|values| {
        values.preempted = (0, "FALSE");
        values.maintenance = (0, "MIGRATE_ON_HOST_MAINTENANCE");
    });
    let proxy = service.start(SLOW);
    service.set(|values| values.maintenance = (1, "TERMINATE_ON_HOST_MAINTENANCE"));
    let begins = proxy.says("drain begins");
    assert_eq!(
        begins["reason"],
        "maintenance_event TERMINATE_ON_HOST_MAINTENANCE"
    );
    assert_eq!(begins["window"], "60s");
    proxy.enters("lame_duck");
    service.set(|values| values.maintenance = (2, "NONE"));
    proxy.enters("serving");
}
