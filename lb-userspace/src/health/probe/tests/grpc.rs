//! gRPC health services of our own making, over the HTTP/2 of a library.

use ::http::{HeaderMap, Response};

use super::*;
use crate::model::health_check::GrpcCheck;

/// What a server answers.
#[derive(Clone)]
struct Answer {
    status: u16,
    body: &'static [u8],
    grpc_status: Option<&'static str>,
}

const SERVING: Answer = Answer { status: 200, body: &[0, 0, 0, 0, 2, 8, 1], grpc_status: Some("0") };

/// Answers one call; tells what was asked.
async fn serve(listener: TcpListener, answer: Answer) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let path = request.uri().path().to_owned();
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let mut body = request.into_body();
    let exchange = async {
        let mut question = Vec::new();
        while let Some(part) = body.data().await {
            question.extend_from_slice(&part.unwrap());
        }
        let mut trailers = HeaderMap::new();
        if let Some(status) = answer.grpc_status {
            trailers.insert("grpc-status", status.parse().unwrap());
        }
        let mut head = Response::builder().status(answer.status);
        if answer.body.is_empty() {
            head.headers_mut().unwrap().extend(trailers);
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        } else {
            let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
            stream.send_data(answer.body.into(), false).unwrap();
            stream.send_trailers(trailers).unwrap();
        }
        question
    };
    tokio::pin!(exchange);
    let mut question = None;
    loop {
        tokio::select! {
            asked = &mut exchange, if question.is_none() => question = Some(asked),
            // The probe ends with a reset.
            None | Some(Err(_)) = connection.accept() => break,
        }
    }
    (path, question.unwrap())
}

async fn asked(answer: Answer, service: &str) -> (Result<(), ProbeFailed>, (String, Vec<u8>)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let grpc = Some(GrpcCheck { service: service.into() });
    let check = check(HealthCheck { kind: "GRPC".into(), grpc, ..HealthCheck::default() }, PATIENT);
    let served = tokio::spawn(serve(listener, answer));
    let result = probe(address, &check).await;
    (result, timeout(PATIENT, served).await.unwrap().unwrap())
}

#[tokio::test]
async fn a_grpc_server_is_asked_about_the_service() {
    let (result, (path, question)) = asked(SERVING, "shop.Cart").await;
    assert_eq!((result, path.as_str()), (Ok(()), "/grpc.health.v1.Health/Check"));
    assert_eq!(question, b"\0\0\0\0\x0b\x0a\x09shop.Cart");
}

#[tokio::test]
async fn only_a_service_that_serves_is_well() {
    let not_serving = Answer { body: &[0, 0, 0, 0, 2, 8, 2], ..SERVING };
    let unknown = Answer { body: &[], grpc_status: Some("5"), ..SERVING };
    let no_service = Answer { body: &[], grpc_status: Some("12"), ..SERVING };
    let no_status = Answer { grpc_status: None, ..SERVING };
    let other = Answer { body: b"hello", ..SERVING };
    let failing = Answer { status: 503, ..SERVING };
    for (answer, words) in [
        (not_serving, "gRPC: NOT_SERVING"),
        (unknown, "gRPC: unknown service"),
        (no_service, "gRPC: no grpc.health.v1.Health"),
        (no_status, "gRPC: an answer without grpc-status"),
        (other, "gRPC: not the answer of a health service"),
        (failing, "HTTP 503"),
    ] {
        let (result, _) = asked(answer, "").await;
        assert_eq!(result.unwrap_err().to_string(), words);
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2_fails() {
    let grpc = check(HealthCheck { kind: "GRPC".into(), ..HealthCheck::default() }, PATIENT);
    let server = Server::start("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let result = probe(server.address, &grpc).await;
    assert!(matches!(result, Err(ProbeFailed::NotGrpc(_))), "{result:?}");
}
