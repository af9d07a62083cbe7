//! Routes: which upstream a request goes to, by its host and its path.

use crate::harness::agent::http::named;
use crate::harness::wire::Wire;
use crate::harness::{Proxy, within};

#[tokio::test]
async fn the_first_route_that_takes_a_request_says_where_it_goes() {
    let agents = ["own", "api", "below"].map(named);
    let [own, api, below] = &agents;
    let proxy = Proxy::http(own.addr)
        .set("upstream.api", "endpoints", &format!("[\"{}\"]", api.addr))
        .set(
            "upstream.below",
            "endpoints",
            &format!("[\"{}\"]", below.addr),
        )
        .set("[listener.route]", "host", "\"chat.example.com\"")
        .set("[listener.route]", "path", "\"/api\"")
        .set("[listener.route]", "upstream", "\"api\"");
    let text = proxy.text();
    let proxy = proxy
        .configuration(&format!(
            "{text}[[listener.route]]\nhost = \"*.example.com\"\nupstream = \"below\"\n"
        ))
        .start()
        .await;
    let mut wire = Wire::connect(proxy.addr("web")).await.unwrap();
    for (host, path, wanted) in [
        ("chat.example.com", "/api/x", "api"),
        ("CHAT.example.com:8080", "/api", "api"),
        ("chat.example.com", "/apis", "below"),
        ("a.b.example.com", "/api", "below"),
        ("example.com", "/api", "own"),
        ("localhost", "/", "own"),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        wire.send(head).await.unwrap();
        let answer = within(20, "an answer", wire.response("GET")).await.unwrap();
        assert_eq!(answer.text(), wanted, "{host} {path}");
    }
    let ready = proxy.ask_health("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "all three can be reached");
}
