//! The standard variables: where to call, as whom, and whom to trust.

use std::path::PathBuf;

/// The services that are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    AutoScaling,
    Balancing,
    Queue,
    Tokens,
    #[cfg(feature = "ecs")]
    Containers,
}

impl Service {
    /// Its name in signatures and in the addresses of its endpoints.
    pub(super) fn name(self) -> &'static str {
        match self {
            Service::AutoScaling => "autoscaling",
            Service::Balancing => "elasticloadbalancing",
            Service::Queue => "sqs",
            Service::Tokens => "sts",
            #[cfg(feature = "ecs")]
            Service::Containers => "ecs",
        }
    }

    /// The type of its bodies, if these are JSON.
    pub(super) fn json(self) -> &'static str {
        match self {
            #[cfg(feature = "ecs")]
            Service::Containers => "application/x-amz-json-1.1",
            _ => "application/x-amz-json-1.0",
        }
    }

    /// Its name in `AWS_ENDPOINT_URL_<SERVICE>`.
    fn variable(self) -> &'static str {
        match self {
            Service::AutoScaling => "AUTO_SCALING",
            Service::Balancing => "ELASTIC_LOAD_BALANCING_V2",
            Service::Queue => "SQS",
            Service::Tokens => "STS",
            #[cfg(feature = "ecs")]
            Service::Containers => "ECS",
        }
    }
}

type LookUp = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Looks variables up. A function, so that tests need not change those of their process.
pub(super) struct Environment(Box<LookUp>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment {
    /// The process's own.
    pub(super) fn of_process() -> Environment {
        Environment(Box::new(|name| std::env::var(name).ok()))
    }

    /// These, and no others.
    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: std::collections::HashMap<_, _> = variables.iter().map(owned).collect();
        Environment(Box::new(move |name| variables.get(name).cloned()))
    }

    /// A variable, unless it is empty, which means the same as none.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The region, where a variable says it.
    pub(super) fn region(&self) -> Option<String> {
        let region = self.get("AWS_REGION");
        region.or_else(|| self.get("AWS_DEFAULT_REGION"))
    }

    /// Whom to trust over TLS, if not the roots of the web.
    pub(super) fn authorities(&self) -> Option<PathBuf> {
        self.get("AWS_CA_BUNDLE").map(PathBuf::from)
    }

    /// Where a service is called, without a slash at the end.
    pub(super) fn endpoint(&self, service: Service, region: &str) -> String {
        let own = self.get(&format!("AWS_ENDPOINT_URL_{}", service.variable()));
        let url = own.or_else(|| self.get("AWS_ENDPOINT_URL"));
        if let Some(url) = url {
            return url.trim_end_matches('/').to_owned();
        }
        let suffix = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        format!("https://{}.{region}.{suffix}", service.name())
    }

    /// Where the instance's metadata is; nowhere if it is switched off.
    pub(super) fn metadata(&self) -> Option<String> {
        let said = |name: &str, word: &str| {
            let value = self.get(name);
            value.is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        if said("AWS_EC2_METADATA_DISABLED", "true") {
            return None;
        }
        let url = self.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let url = url.unwrap_or_else(|| {
            if said("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6") {
                "http://[fd00:ec2::254]".to_owned()
            } else {
                "http://169.254.169.254".to_owned()
            }
        });
        Some(url.trim_end_matches('/').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_services_own_or_everybodys_or_the_regions() {
        let (here, china) = ("eu-west-1", "cn-north-1");
        let none = Environment::of(&[("AWS_ENDPOINT_URL", "")]);
        for (service, region, url) in [
            (
                Service::AutoScaling,
                here,
                "https://autoscaling.eu-west-1.amazonaws.com",
            ),
            (
                Service::Balancing,
                here,
                "https://elasticloadbalancing.eu-west-1.amazonaws.com",
            ),
            (
                Service::Queue,
                china,
                "https://sqs.cn-north-1.amazonaws.com.cn",
            ),
        ] {
            assert_eq!(none.endpoint(service, region), url);
        }
        let given = Environment::of(&[
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1/"),
            ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:2"),
        ]);
        assert_eq!(given.endpoint(Service::Queue, here), "http://127.0.0.1:2");
        assert_eq!(given.endpoint(Service::Tokens, here), "http://127.0.0.1:1");
    }

    #[test]
    fn metadata_can_be_elsewhere_or_nowhere() {
        let of = |variables: &[(&str, &str)]| Environment::of(variables).metadata();
        let mode = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
        let url = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
        assert_eq!(of(&[]).as_deref(), Some("http://169.254.169.254"));
        assert_eq!(
            of(&[(mode, "ipv6")]).as_deref(),
            Some("http://[fd00:ec2::254]")
        );
        let both = [(mode, "IPv6"), (url, "http://127.0.0.1:9/")];
        assert_eq!(of(&both).as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(of(&[("AWS_EC2_METADATA_DISABLED", "true")]), None);
    }

    #[test]
    fn the_region_has_two_names() {
        let both = [("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")];
        assert_eq!(Environment::of(&both).region().as_deref(), Some("a"));
        assert_eq!(Environment::of(&both[1..]).region().as_deref(), Some("b"));
    }
}
