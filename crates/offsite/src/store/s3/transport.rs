//! HTTP for S3. OpenDAL's own transport lacks three things:
//!
//! - A deadline by lack of progress, whatever the size of an object and the speed of the line: a
//!   request fails once nothing has moved for [`STALLED`].
//! - A limit on the rate of what is sent.
//! - Errors in the service's own words: what is no success becomes a [`Refusal`]. An answer that no S3
//!   service gave, be it a success or not, is [`Lost`].

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::{Either, select};
use futures::{FutureExt, Stream, StreamExt};
use http::header::{CONTENT_TYPE, DATE, ETAG};
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use opendal_core::raw::Operation;
use opendal_core::{Buffer, HttpBody, HttpTransport};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::refusal::{LONGEST, Lost, Refusal};
use crate::http_client;
use crate::store::Reason;
use crate::store::pace::Pace;

/// A request fails once nothing has moved for so long.
const STALLED: Duration = Duration::from_secs(60);

/// A body is handed over in pieces of so many bytes.
const PIECE: usize = 64 << 10;

/// Most bytes of an answer that is no object, such as a page of a list: a thousand names of a kilobyte
/// each, many times over. OpenDAL holds it in memory.
const LONGEST_PAGE: usize = 16 << 20;

/// How much of a body may be in the system's buffers after it was handed over: the usual maximum.
const BUFFERED: u64 = 4 << 20;

/// The slowest line that is waited for, in bytes a second. The kernel ends a connection whose other
/// end is silent long before.
const SLOWEST: u64 = 16 << 10;

/// Where a virtual machine of Amazon's is told its credentials. Elsewhere nobody may answer at all.
const METADATA_SERVICE: &str = "169.254.169.254";

/// As the AWS tools have it, twice over.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

/// Sends requests, and gives back the answers.
pub(super) struct Transport {
    client: reqwest::Client,
    pace: Arc<Pace>,
    ahead: Arc<Ahead>,
}

/// How far the store's clock is ahead of this machine's, by its latest answer.
#[derive(Default)]
pub(super) struct Ahead(Mutex<Option<time::Duration>>);

impl Ahead {
    pub(super) fn get(&self) -> Option<time::Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the answer's date (RFC 9110 §6.6.1), whose form is that of mail.
    fn note(&self, headers: &HeaderMap, now: OffsetDateTime) {
        let date = headers.get(DATE).and_then(|date| OffsetDateTime::parse(date.to_str().ok()?, &Rfc2822).ok());
        if let Some(date) = date {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(date - now);
        }
    }
}

impl Transport {
    /// `is_https` says whether the service is spoken to by TLS.
    pub(super) fn new(is_https: bool, pace: Pace, ahead: Arc<Ahead>) -> Result<Self, Reason> {
        let client = http_client::builder(is_https)
            .map_err(|error| Reason::Io(error.into()))?
            .connect_timeout(STALLED / 2)
            .tcp_user_timeout(STALLED)
            .tcp_keepalive(STALLED / 4)
            .build();
        let client = client.map_err(|error| Reason::Io(io::Error::other(error)))?;
        Ok(Self { client, pace: Arc::new(pace), ahead })
    }

    async fn send(&self, request: Request<Buffer>) -> Result<reqwest::Response, Lost> {
        let (head, body) = request.into_parts();
        let progress = Arc::new(Progress::new());
        let length = body.len() as u64;
        let sending = Sending { rest: body, pace: self.pace.clone(), wait: None, progress: progress.clone() };
        let request = Request::from_parts(head, reqwest::Body::wrap(sending));
        let request = reqwest::Request::try_from(request).map_err(|error| Lost::new(&error))?;
        let mut answer = Box::pin(self.client.execute(request));
        loop {
            let deadline = progress.deadline(length);
            match select(answer, Box::pin(sleep_until(deadline))).await {
                Either::Left((answer, _)) => return answer.map_err(|error| Lost::new(&error)),
                Either::Right(_) if progress.deadline(length) <= deadline => return Err(Lost::Stalled),
                Either::Right((_, unanswered)) => answer = unanswered,
            }
        }
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal_core::Result<Response<HttpBody>> {
        // Those of OpenDAL's credential providers speak to other services.
        let operation = request.extensions().get::<Operation>().copied();
        let is_s3 = operation.is_some();
        let is_metadata = request.uri().host() == Some(METADATA_SERVICE);
        let answer = match (self.send(request), is_metadata) {
            (answer, true) => timeout(METADATA_PATIENCE, answer).await.unwrap_or(Err(Lost::Stalled)),
            (answer, false) => answer.await,
        };
        let answer = answer.map_err(Lost::into_error)?;
        let (status, headers, length) = (answer.status(), answer.headers().clone(), answer.content_length());
        if is_s3 {
            self.ahead.note(&headers, OffsetDateTime::now_utc());
        }
        let left = if operation == Some(Operation::Read) { usize::MAX } else { LONGEST_PAGE };
        let stream = Receiving { stream: Box::pin(answer.bytes_stream()), stalled: Box::pin(sleep(STALLED)), left };
        let mut body = HttpBody::new(stream, length);
        if is_s3 && !status.is_success() {
            let text = first_bytes(&mut body).await;
            let refusal = Refusal::new(status, &headers, &text);
            let tells_by_code = matches!(operation, Some(Operation::Write | Operation::List));
            return Err(match refusal.foreign() {
                Some(why) if tells_by_code => Lost::NotS3(why).into_error(),
                _ => refusal.into_error(),
            });
        }
        if let Some(why) = operation.and_then(|operation| foreign(operation, &headers)) {
            return Err(Lost::NotS3(why.to_owned()).into_error());
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Why a success is none, since it is not S3's. A web server, or a page to log in to a network, may answer
/// anything so; an object that it took in would be nowhere.
fn foreign(operation: Operation, headers: &HeaderMap) -> Option<&'static str> {
    let is_page = || headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    match operation {
        Operation::Write if !headers.contains_key(ETAG) => Some("it says that it took the object, and gives no ETag"),
        Operation::List if is_page() => Some("it answered with a page of HTML"),
        _ => None,
    }
}

/// The beginning of an answer that tells what is wrong. That it cannot be read is no reason to hide its
/// status.
async fn first_bytes(body: &mut HttpBody) -> Vec<u8> {
    use opendal_core::raw::oio::ReadStream;

    let mut text = Vec::new();
    while text.len() < LONGEST {
        match body.read().await {
            Ok(piece) if !piece.is_empty() => text.extend_from_slice(&piece.to_bytes()),
            _ => break,
        }
    }
    text.truncate(LONGEST);
    text
}

/// When something of a request moved last.
struct Progress(Mutex<(Instant, bool)>);

impl Progress {
    fn new() -> Self {
        Self(Mutex::new((Instant::now(), false)))
    }

    fn note(&self, is_sent: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), is_sent);
    }

    /// When the request fails unless something moves before. What was handed over last may still be in
    /// the system's buffers.
    fn deadline(&self, length: u64) -> Instant {
        let (moved, is_sent) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let draining = if is_sent { length.min(BUFFERED) / SLOWEST } else { 0 };
        moved + STALLED + Duration::from_secs(draining)
    }
}

/// A request's body: handed over in pieces, at the pace.
struct Sending {
    rest: Buffer,
    pace: Arc<Pace>,
    wait: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = self.rest.chunk().len().min(self.pace.piece(PIECE));
        if length == 0 {
            return Poll::Ready(None);
        }
        let sending = &mut *self;
        let wait = sending.wait.get_or_insert_with(|| Box::pin(sleep(sending.pace.delay(length))));
        ready!(wait.as_mut().poll(context));
        sending.wait = None;
        let piece = sending.rest.copy_to_bytes(length);
        sending.progress.note(sending.rest.is_empty());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }
}

/// An answer's body, which fails when it stalls, or is longer than it may be.
struct Receiving<S> {
    stream: Pin<Box<S>>,
    stalled: Pin<Box<Sleep>>,
    /// Bytes that may still come.
    left: usize,
}

impl<S: Stream<Item = reqwest::Result<Bytes>>> Stream for Receiving<S> {
    type Item = opendal_core::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.stream.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(piece))) if piece.len() > self.left => {
                Poll::Ready(Some(Err(Lost::TooLong.into_error())))
            }
            Poll::Ready(piece) => {
                self.left -= piece.as_ref().and_then(|piece| piece.as_ref().ok()).map_or(0, Bytes::len);
                self.stalled.as_mut().reset(Instant::now() + STALLED);
                let piece = piece.map(|piece| piece.map(Buffer::from));
                Poll::Ready(piece.map(|piece| piece.map_err(|error| Lost::new(&error).into_error())))
            }
            Poll::Pending => match self.stalled.poll_unpin(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Lost::Stalled.into_error()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_tells_how_far_clocks_differ() {
        let ahead = Ahead::default();
        let now = OffsetDateTime::from_unix_timestamp(1_795_419_900).unwrap();
        for odd in ["", "now", "2026-11-23T07:45:00Z"] {
            ahead.note(&HeaderMap::from_iter([(DATE, odd.parse().unwrap())]), now);
            assert_eq!(ahead.get(), None, "{odd}");
        }
        ahead.note(&HeaderMap::from_iter([(DATE, "Mon, 23 Nov 2026 07:55:01 GMT".parse().unwrap())]), now);
        assert_eq!(ahead.get(), Some(time::Duration::seconds(601)));
    }
}
