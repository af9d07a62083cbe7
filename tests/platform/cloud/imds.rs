//! The metadata service of the machine, version 2, and the credentials of its role.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use super::http::{Answer, Ask};
use super::{OWN, REGION, World};

/// The role of the machine.
const ROLE: &str = "agent-role";

/// What the metadata service knows.
pub struct Imds {
    /// The id of the machine.
    pub instance: String,
    tokens: HashMap<String, Instant>,
    /// How often the credentials have been renewed.
    generation: usize,
    /// Where the group wants the machine; none if it is in no group.
    pub target_lifecycle: Option<String>,
    /// The notice of a Spot interruption.
    pub spot: Option<String>,
    /// The advice to go elsewhere.
    pub rebalance: Option<String>,
    made: usize,
}

impl Default for Imds {
    fn default() -> Imds {
        Imds {
            instance: OWN.to_owned(),
            tokens: HashMap::new(),
            generation: 0,
            target_lifecycle: None,
            spot: None,
            rebalance: None,
            made: 0,
        }
    }
}

impl Imds {
    /// Ends the life of every token.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Ends the life of the credentials that were given out.
    pub fn expire_credentials(&mut self) {
        self.generation += 1;
    }

    /// The access key of now.
    pub fn key(&self) -> String {
        format!("ASIAFAKEFAKEFAKE{:04}", self.generation)
    }

    /// The session token of now.
    pub fn session(&self) -> String {
        format!("session-{}", self.generation)
    }

    /// Whether this was a key once.
    pub fn is_old_key(&self, key: &str) -> bool {
        let number = key.strip_prefix("ASIAFAKEFAKEFAKE");
        let number = number.and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| number < self.generation)
    }

    fn token(&mut self, ask: &Ask) -> Answer {
        if ask.header("x-forwarded-for").is_some() {
            return Answer::text(403, "");
        }
        let life = ask.header("x-aws-ec2-metadata-token-ttl-seconds");
        let life = life.and_then(|life| life.parse::<u64>().ok());
        let Some(life @ 1..=21_600) = life else {
            return Answer::text(400, "no life for the token");
        };
        self.made += 1;
        let token = format!("TOKEN-{}==", self.made);
        let until = Instant::now() + Duration::from_secs(life);
        self.tokens.insert(token.clone(), until);
        let mut answer = Answer::text(200, token);
        let name = "x-aws-ec2-metadata-token-ttl-seconds";
        answer.headers.push((name, life.to_string()));
        answer
    }

    fn is_known(&self, ask: &Ask) -> bool {
        let token = ask.header("x-aws-ec2-metadata-token");
        let until = token.and_then(|token| self.tokens.get(token));
        until.is_some_and(|until| *until > Instant::now())
    }

    fn credentials(&self) -> String {
        let credentials = json!({
            "Code": "Success",
            "LastUpdated": "2026-01-01T00:00:00Z",
            "Type": "AWS-HMAC",
            "AccessKeyId": self.key(),
            "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "Token": self.session(),
            "Expiration": "2099-01-01T00:00:00Z",
        });
        credentials.to_string()
    }
}

/// Answers a request below `/latest/`.
pub fn answer(world: &mut World, ask: &Ask) -> Answer {
    let imds = &mut world.imds;
    if ask.method == Method::PUT && ask.action == "api/token" {
        return imds.token(ask);
    }
    if !imds.is_known(ask) {
        if ask.header("x-aws-ec2-metadata-token").is_none() {
            let complaint = format!("imds: {} without a token", ask.path);
            world.complaints.push(complaint);
        }
        return Answer::text(401, "");
    }
    let said = match ask.action.as_str() {
        "meta-data/instance-id" => Some(imds.instance.clone()),
        "meta-data/placement/region" => Some(REGION.to_owned()),
        "meta-data/placement/availability-zone" => Some(format!("{REGION}a")),
        "meta-data/instance-life-cycle" => Some("on-demand".to_owned()),
        "meta-data/iam/security-credentials/" | "meta-data/iam/security-credentials" => {
            Some(ROLE.to_owned())
        }
        "meta-data/iam/security-credentials/agent-role" => Some(imds.credentials()),
        "meta-data/autoscaling/target-lifecycle-state" => imds.target_lifecycle.clone(),
        "meta-data/spot/instance-action" => imds.spot.clone(),
        "meta-data/events/recommendations/rebalance" => imds.rebalance.clone(),
        _ => None,
    };
    said.map_or_else(|| Answer::text(404, ""), |said| Answer::text(200, said))
}
