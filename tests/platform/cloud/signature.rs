//! What can be told of a signature without the secret: that it is there, of whom, and for what. Whether it
//! is right is for another judge (`moto`).

use super::http::{Answer, Ask};
use super::{REGION, World, xml};

/// Refuses what a real service would, and complains, but for credentials that have run out.
pub fn check(world: &mut World, ask: &Ask) -> Result<(), Answer> {
    match judge(world, ask) {
        Ok(()) => Ok(()),
        Err(None) => Err(super::fault::answer(
            ask.service,
            super::fault::Fault::Expired,
        )),
        Err(Some(complaint)) => {
            let complaint = format!("{}.{}: {complaint}", ask.service, ask.action);
            world.complaints.push(complaint.clone());
            Err(xml::error(403, "SignatureDoesNotMatch", &complaint))
        }
    }
}

/// The error is what is wrong; none, if it is only too old.
fn judge(world: &World, ask: &Ask) -> Result<(), Option<String>> {
    let header = |name: &str| {
        let missing = || Some(format!("no {name}"));
        ask.header(name).ok_or_else(missing)
    };
    let authorization = header("authorization")?;
    let date = header("x-amz-date")?;
    let wrong = |what: &str| Some(format!("{what}: {authorization}"));
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
        return Err(Some(format!("the scope is {scope}, not {expected}")));
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
        return Err(None);
    }
    Err(wrong("nobody has this key"))
}
