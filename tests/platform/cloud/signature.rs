//! What can be told of a signature without the secret: that it is there, of whom, and for what. Whether it
//! is right is for another judge (`moto`).

use std::time::{Duration, SystemTime};

use super::fault::{self, Fault};
use super::http::{Answer, Ask};
use super::{REGION, World, xml};

/// Refuses what a real service would, and complains, but for credentials that have run out.
pub fn check(world: &mut World, ask: &Ask) -> Result<(), Answer> {
    match judge(world, ask) {
        Ok(()) => Ok(()),
        Err(Wrong::Passing(fault)) => Err(fault::answer(ask.service, fault)),
        Err(Wrong::Never(complaint)) => {
            let complaint = format!("{}.{}: {complaint}", ask.service, ask.action);
            world.complaints.push(complaint.clone());
            Err(xml::error(403, "SignatureDoesNotMatch", &complaint))
        }
    }
}

/// What is wrong with a signature.
enum Wrong {
    /// It would have been right at another time.
    Passing(Fault),
    /// Nobody should send such a one.
    Never(String),
}

fn judge(world: &World, ask: &Ask) -> Result<(), Wrong> {
    let header = |name: &str| {
        let missing = || Wrong::Never(format!("no {name}"));
        ask.header(name).ok_or_else(missing)
    };
    let authorization = header("authorization")?;
    let date = header("x-amz-date")?;
    let wrong = |what: &str| Wrong::Never(format!("{what}: {authorization}"));
    let signed_at = time_of(date).ok_or_else(|| wrong("no time"))?;
    if is_far_off(signed_at) {
        return Err(Wrong::Passing(Fault::Skewed));
    }
    let parts = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| wrong("another scheme"))?;
    let part = |name: &str| {
        let mut parts = parts.split(',').map(str::trim);
        parts
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| wrong(name))
    };
    let credential = part("Credential")?;
    let (key, scope) = credential
        .split_once('/')
        .ok_or_else(|| wrong("no scope"))?;
    let day = date.split('T').next().unwrap_or_default();
    let expected = format!("{day}/{REGION}/{}/aws4_request", ask.service);
    if scope != expected {
        let complaint = format!("the scope is {scope}, not {expected}");
        return Err(Wrong::Never(complaint));
    }
    let signed: Vec<_> = part("SignedHeaders")?.split(';').collect();
    for name in ["host", "x-amz-date"] {
        if !signed.contains(&name) {
            return Err(wrong(name));
        }
    }
    let signature = part("Signature")?;
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong("no signature"));
    }
    let imds = &world.imds;
    if key == imds.key() {
        let token = header("x-amz-security-token")?;
        let is_ours = token == imds.session() && signed.contains(&"x-amz-security-token");
        return is_ours.then_some(()).ok_or_else(|| wrong("another token"));
    }
    if imds.is_old_key(key) {
        return Err(Wrong::Passing(Fault::Expired));
    }
    Err(wrong("nobody has this key"))
}

/// A time as signatures have it: `20261126T124533Z`.
fn time_of(text: &str) -> Option<SystemTime> {
    let part = |range| text.get(range);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(9..11)?, part(11..13)?, part(13..15)?);
    let time = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    humantime::parse_rfc3339(&time).ok()
}

/// Whether a call that was signed then is refused now: the services allow five minutes.
fn is_far_off(signed_at: SystemTime) -> bool {
    let now = SystemTime::now();
    let off = now
        .duration_since(signed_at)
        .or_else(|_| signed_at.duration_since(now));
    off.is_ok_and(|off| off > Duration::from_secs(300))
}
