//! `Warning` headers (RFC 7234, section 5.5), which Kubernetes' clients print: what somebody should know whose request was
//! carried out. Each once, and bounded: clients refuse answers whose head is too long.

use axum::extract::Request;
use axum::http::header::{HeaderValue, WARNING};
use axum::middleware::Next;
use axum::response::Response;

use super::target::Target;

/// The longest that one may be, in characters; what is more is cut off.
const MAX_LENGTH: usize = 256;
/// How long all of an answer's may be together, in bytes; what is more is left out.
const MAX_TOTAL: usize = 4096;

/// Adds warnings to an answer.
pub(super) fn add(response: &mut Response, warnings: impl IntoIterator<Item = String>) {
    for warning in warnings {
        // Quoted text can't have them.
        let text: String = warning.chars().filter(|c| !c.is_control()).take(MAX_LENGTH).collect();
        let text = format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else { continue };
        let known = || response.headers().get_all(WARNING).iter();
        let total: usize = known().map(HeaderValue::len).sum();
        if total + value.len() <= MAX_TOTAL && known().all(|other| other != value) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// Says of an old version that there is a newer one.
pub(super) async fn of_version(request: Request, next: Next) -> Response {
    let served = Target::of(request.uri().path()).map(|target| target.served);
    let mut response = next.run(request).await;
    add(&mut response, served.and_then(super::target::Served::deprecation));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(warnings: &[&str]) -> Vec<String> {
        let mut response = Response::default();
        add(&mut response, warnings.iter().map(|text| (*text).to_owned()));
        let all = response.headers().get_all(WARNING).iter();
        all.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_warning_is_told_once_whatever_it_is_made_of() {
        assert_eq!(
            told(&["a \"b\" \\c", "ü\r\nd", "a \"b\" \\c"]),
            [r#"299 - "a \"b\" \\c""#, "299 - \"üd\""]
        );
    }

    #[test]
    fn the_head_of_an_answer_stays_short_whatever_there_is_to_warn_of() {
        let many: Vec<String> = (0..100).map(|number| format!("{number}{}", "x".repeat(1000))).collect();
        let told = told(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((told.len(), told[0].len()), (15, 256 + r#"299 - """#.len()));
    }
}
