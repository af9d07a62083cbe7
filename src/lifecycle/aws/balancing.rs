//! The calls of the load balancers.

use std::time::Duration;

use super::api::{Api, Body, Call};
use super::environment::Service;
use super::fault::Fault;
use super::form::Form;
use super::xml::Element;
use crate::config::TargetGroup;

pub(super) const VERSION: &str = "2015-12-01";

/// What a target group knows us by.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The instance, or an address.
    pub(super) id: String,
    /// The port, if it is not the group's own.
    pub(super) port: Option<u16>,
}

impl Target {
    fn put(&self, form: &mut Form) {
        form.add("Targets.member.1.Id", &self.id);
        if let Some(port) = self.port {
            form.add("Targets.member.1.Port", &port.to_string());
        }
    }
}

/// How a target group sees a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    /// `healthy`, `draining`, ..
    pub(super) state: String,
    /// Whether it has been deregistered, and is not even draining any more.
    pub(super) is_absent: bool,
}

impl Health {
    /// Whether it gets nothing new.
    pub(super) fn looks_away(&self) -> bool {
        // `unhealthy.draining` is another matter: the group has given up on what is registered.
        self.state == "draining" || self.is_absent
    }
}

pub(super) async fn call(api: &Api, name: &'static str, form: Form) -> Result<Element, Fault> {
    let call = Call {
        service: Service::Balancing,
        name,
        body: Body::Form(form),
        limit: None,
    };
    Element::parse(&api.call(&call).await?).ok_or(Fault::Unclear("XML in it"))
}

/// How a group sees a target.
pub(super) async fn health(
    api: &Api,
    group: &TargetGroup,
    target: &Target,
) -> Result<Health, Fault> {
    const NAME: &str = "DescribeTargetHealth";
    let mut form = Form::new(NAME, VERSION);
    form.add("TargetGroupArn", group.arn());
    target.put(&mut form);
    health_of(&call(api, NAME, form).await?, target)
}

fn health_of(answer: &Element, target: &Target) -> Result<Health, Fault> {
    const LIST: &str = "TargetHealthDescriptions";
    answer.find(LIST).ok_or(Fault::Unclear(LIST))?;
    let port = target.port.map(|port| port.to_string());
    let is_ours = |one: &&Element| {
        one.child("Target").is_some_and(|found| {
            found.text_of("Id") == Some(&target.id)
                && (port.is_none() || found.text_of("Port") == port.as_deref())
        })
    };
    let Some(found) = answer.members(LIST).find(is_ours) else {
        return Ok(Health {
            state: "unused".to_owned(),
            is_absent: true,
        });
    };
    let health = found
        .child("TargetHealth")
        .ok_or(Fault::Unclear("TargetHealth"))?;
    let state = health.text_of("State").ok_or(Fault::Unclear("State"))?;
    Ok(Health {
        state: state.to_owned(),
        is_absent: health.text_of("Reason") == Some("Target.NotRegistered"),
    })
}

/// How long a group goes on with a target after it was deregistered; nothing if it does not say.
pub(super) async fn delay(api: &Api, group: &TargetGroup) -> Result<Option<Duration>, Fault> {
    const NAME: &str = "DescribeTargetGroupAttributes";
    let mut form = Form::new(NAME, VERSION);
    form.add("TargetGroupArn", group.arn());
    Ok(delay_of(&call(api, NAME, form).await?))
}

fn delay_of(answer: &Element) -> Option<Duration> {
    const KEY: &str = "deregistration_delay.timeout_seconds";
    let mut attributes = answer.members("Attributes");
    let found = attributes.find(|one| one.text_of("Key") == Some(KEY))?;
    let seconds = found.text_of("Value")?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Takes a target out of a group; one that is out already is no error.
pub(super) async fn deregister(
    api: &Api,
    group: &TargetGroup,
    target: &Target,
) -> Result<(), Fault> {
    const NAME: &str = "DeregisterTargets";
    let mut form = Form::new(NAME, VERSION);
    form.add("TargetGroupArn", group.arn());
    target.put(&mut form);
    call(api, NAME, form).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(inner: &str) -> Element {
        let document = format!(
            "<A xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><R>{inner}</R></A>"
        );
        Element::parse(document.as_bytes()).unwrap()
    }

    fn described(id: &str, port: u16, health: &str) -> String {
        format!(
            "<member><HealthCheckPort>80</HealthCheckPort><Target><Id>{id}</Id><Port>{port}</Port>\
             </Target><TargetHealth>{health}</TargetHealth></member>"
        )
    }

    #[test]
    fn the_own_target_is_found_among_others() {
        let other = described("i-2", 80, "<State>healthy</State>");
        let away = described(
            "i-1",
            80,
            "<State>draining</State><Reason>Target.DeregistrationInProgress</Reason>",
        );
        let still = described("i-1", 81, "<State>healthy</State>");
        let list = answer(&format!(
            "<TargetHealthDescriptions>{other}{away}{still}</TargetHealthDescriptions>"
        ));
        let of = |port| {
            let id = "i-1".to_owned();
            health_of(&list, &Target { id, port }).unwrap()
        };
        assert!(of(None).looks_away());
        assert_eq!(
            (&*of(Some(81)).state, of(Some(81)).looks_away()),
            ("healthy", false)
        );
        assert!(of(Some(82)).is_absent);
    }

    #[test]
    fn who_is_not_registered_gets_nothing() {
        let target = Target {
            id: "i-1".to_owned(),
            port: None,
        };
        for (health, away) in [
            (
                "<State>unused</State><Reason>Target.NotRegistered</Reason>",
                true,
            ),
            (
                "<State>unused</State><Reason>Target.NotInUse</Reason>",
                false,
            ),
            ("<State>unhealthy.draining</State>", false),
            ("<State>something new</State>", false),
        ] {
            let one = described("i-1", 80, health);
            let list = answer(&format!(
                "<TargetHealthDescriptions>{one}</TargetHealthDescriptions>"
            ));
            assert_eq!(
                health_of(&list, &target).unwrap().looks_away(),
                away,
                "{health}"
            );
        }
        assert!(health_of(&answer(""), &target).is_err());
    }

    #[test]
    fn the_delay_is_one_of_many_attributes() {
        let attributes = answer(
            "<Attributes><member><Value>false</Value><Key>stickiness.enabled</Key></member><member>\
             <Value>120</Value><Key>deregistration_delay.timeout_seconds</Key></member></Attributes>",
        );
        assert_eq!(delay_of(&attributes), Some(Duration::from_secs(120)));
        assert_eq!(delay_of(&answer("<Attributes/>")), None);
    }
}
