//! Who may use the API: those with the token, or with a session that was opened with it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rand::RngCore;
use rand::rngs::OsRng;

use super::attempts::{Attempts, Turn};
use super::guard::Door;
use super::keys::Token;
use super::problem::Problem;
use super::session::{Id, Sessions};

/// What it takes, and who has shown it.
#[derive(Debug)]
pub struct Access {
    /// `None`: nobody needs one.
    token: Mutex<Option<Token>>,
    sessions: Mutex<Sessions>,
    attempts: Mutex<Attempts>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nothing was shown.
    Missing,
    /// What was shown is wrong, or the session is over.
    Wrong,
    /// Many wrong tokens came from there: to be tried again after this time.
    Later(Duration),
}

impl Access {
    /// With `token`, or for everybody.
    pub fn new(token: Option<Token>) -> Self {
        Access { token: Mutex::new(token), sessions: Mutex::default(), attempts: Mutex::default() }
    }

    /// Takes a token over from its file; another one than before ends all sessions.
    pub fn renew(&self, token: Option<Token>) {
        let mut current = lock(&self.token);
        if *current != token {
            *current = token;
            lock(&self.sessions).close_all();
        }
    }

    /// Whether a token is asked for at this door. The Unix socket's file says itself who may use it.
    pub fn is_guarded(&self, door: Door) -> bool {
        door != Door::Unix && lock(&self.token).is_some()
    }

    /// Whether this request may go on. Waits where wrong tokens have come from there.
    ///
    /// # Errors
    /// Where it may not.
    pub async fn check(&self, headers: &HeaderMap, door: Door, peer: Option<IpAddr>) -> Result<(), Denied> {
        if !self.is_guarded(door) {
            return Ok(());
        }
        let ids: Vec<Id> = ids(headers, door).collect();
        if ids.iter().any(|id| lock(&self.sessions).is_open(id, Instant::now())) {
            return Ok(());
        }
        match bearer(headers) {
            Some(token) => self.check_token(token, peer).await,
            None if ids.is_empty() => Err(Denied::Missing),
            None => Err(Denied::Wrong),
        }
    }

    /// Whether this is the token.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn check_token(&self, shown: &[u8], peer: Option<IpAddr>) -> Result<(), Denied> {
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)); // nobody's address
        let turn = lock(&self.attempts).turn(peer, Instant::now());
        match turn {
            Turn::Now => {}
            Turn::Later(time) => return Err(Denied::Later(time)),
            Turn::After(time) => {
                let _waiting = Waiting { access: self, peer };
                tokio::time::sleep(time).await;
            }
        }
        if lock(&self.token).as_ref().is_none_or(|token| token.is(shown)) {
            return Ok(());
        }
        let wrong = lock(&self.attempts).wrong(peer, Instant::now());
        if wrong == 1 || wrong.is_multiple_of(LOGGED_AGAIN) {
            log::warn!(peer:%, lately = wrong; "the API was shown a wrong token");
        }
        Err(Denied::Wrong)
    }

    /// Opens a session; gives the value of `Set-Cookie`.
    pub fn open_session(&self, door: Door) -> String {
        let mut random = [0; 32];
        OsRng.fill_bytes(&mut random);
        let id = Id::new(random);
        let cookie = id.set_cookie(door.is_tls());
        lock(&self.sessions).open(id, Instant::now());
        cookie
    }

    /// Ends the session that a request names, if there is one.
    pub fn close_session(&self, headers: &HeaderMap, door: Door) {
        for id in ids(headers, door) {
            lock(&self.sessions).close(&id);
        }
    }
}

/// Counted as waiting as long as it lives: a request may be given up at any time.
struct Waiting<'a> {
    access: &'a Access,
    peer: IpAddr,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.access.attempts).done_waiting(self.peer);
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let (problem, name, value) = match self {
            Denied::Missing => (
                Problem::new(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer …"),
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(CHALLENGE),
            ),
            Denied::Wrong => (
                Problem::new(StatusCode::UNAUTHORIZED, "the token is wrong, or the session is over"),
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(CHALLENGE_AFTER_WRONG),
            ),
            Denied::Later(time) => (
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "many wrong tokens came from there: try again"),
                header::RETRY_AFTER,
                HeaderValue::from(time.as_secs().max(1)),
            ),
        };
        let mut response = problem.into_response();
        response.headers_mut().insert(name, value);
        response
    }
}

fn ids(headers: &HeaderMap, door: Door) -> impl Iterator<Item = Id> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(move |cookies| Id::in_cookies(cookies, door.is_tls())).take(MOST_COOKIES)
}

/// The token of an `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim_ascii())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // each change of these is whole or not made
}

const BEARER: &[u8] = b"Bearer ";

const CHALLENGE: &str = "Bearer realm=\"uplinkd\"";

const CHALLENGE_AFTER_WRONG: &str = "Bearer realm=\"uplinkd\", error=\"invalid_token\"";

/// A browser sends one, or a stale one beside it.
const MOST_COOKIES: usize = 4;

/// Wrong tokens: the first is told of, and then so that a guesser is seen and does not fill the log.
const LOGGED_AGAIN: u32 = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_spelling() {
        let shown = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(shown("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(shown("bearer  abc"), Some(b"abc".to_vec()));
        for other in ["Basic abc", "Bearer", "abc", ""] {
            assert_eq!(shown(other), None, "{other}");
        }
    }
}
