//! gRPC: errors of narthex in its own words, and deadlines kept.

use crate::h2_rig::{ask, connect, request, run};
use crate::rig::Rig;
use bytes::Bytes;

#[test]
fn grpc_clients_are_told_in_their_own_words() {
    let rig = Rig::new(0, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        let call = |uri: &str, kind: &str| {
            request("POST", uri)
                .header("content-type", kind)
                .header("te", "trailers")
        };
        for (uri, status) in [
            ("http://a.test/pkg.Service/Method", "14"),
            ("http://nobody.test/pkg.Service/Method", "12"),
        ] {
            let asked = call(uri, "application/grpc+proto").body(()).unwrap();
            let answer = ask(&mut sender, asked, Some((Bytes::new(), None))).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.field("content-type"), "application/grpc");
            assert_eq!(answer.field("grpc-status"), status);
            assert!(!answer.field("grpc-message").is_empty());
        }
        let web = call("http://a.test/", "application/grpc-web+proto").body(()).unwrap();
        let answer = ask(&mut sender, web, Some((Bytes::new(), None))).await.unwrap();
        assert_eq!(answer.status, 503, "gRPC-Web is HTTP");
    });
}
