//! Sessions: what a browser has instead of a token, since a page cannot send one with each request.
//!
//! The cookie is a random number of 256 bits, which scripts cannot read (`HttpOnly`) and other sites cannot
//! have sent (`SameSite=Strict`).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

/// Everybody who is logged in; at most [`MOST_SESSIONS`]: who has not come for longest is logged out.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    id: Id,
    opened: Instant,
    used: Instant,
}

/// The secret of one session; random.
#[derive(Clone, PartialEq, Eq)]
pub struct Id([u8; 32]);

impl Sessions {
    /// A new session with this number.
    pub fn open(&mut self, id: Id, now: Instant) {
        self.expire(now);
        if self.open.len() >= MOST_SESSIONS {
            let unused = self.open.iter().enumerate().min_by_key(|(_, session)| session.used);
            if let Some((index, _)) = unused {
                self.open.swap_remove(index);
            }
        }
        self.open.push(Session { id, opened: now, used: now });
    }

    /// Whether there is such a session; it counts as used.
    pub fn is_open(&mut self, id: &Id, now: Instant) -> bool {
        self.expire(now);
        let mut found = false;
        for session in &mut self.open {
            if bool::from(session.id.0.ct_eq(&id.0)) {
                session.used = now;
                found = true;
            }
        }
        found
    }

    /// Logged out.
    pub fn close(&mut self, id: &Id) {
        self.open.retain(|session| !bool::from(session.id.0.ct_eq(&id.0)));
    }

    /// Everybody is logged out: the token is another one.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    fn expire(&mut self, now: Instant) {
        self.open.retain(|session| {
            now.saturating_duration_since(session.used) < UNUSED
                && now.saturating_duration_since(session.opened) < LONGEST
        });
    }
}

impl Id {
    /// The number must be from a cryptographic generator.
    pub fn new(random: [u8; 32]) -> Self {
        Id(random)
    }

    /// Every session that the value of a `Cookie` header names.
    pub fn in_cookies(header: &str, tls: bool) -> impl Iterator<Item = Id> {
        header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(move |(name, _)| *name == cookie_name(tls))
            .filter_map(|(_, value)| Id::parse(value))
    }

    /// The value of the `Set-Cookie` header that opens the session in a browser.
    pub fn set_cookie(&self, tls: bool) -> String {
        let value = self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a text takes everything");
            text
        });
        format!("{}={value}; Max-Age={}; {}", cookie_name(tls), LONGEST.as_secs(), attributes(tls))
    }

    fn parse(text: &str) -> Option<Id> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut id = [0; 32];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Id(id))
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Id(…)")
    }
}

/// The value of the `Set-Cookie` header with which a browser forgets its session.
pub fn forget_cookie(tls: bool) -> String {
    format!("{}=; Max-Age=0; {}", cookie_name(tls), attributes(tls))
}

/// With `__Host-`, a browser takes the cookie only from this very host, and over TLS.
fn cookie_name(tls: bool) -> &'static str {
    if tls { "__Host-uplinkd" } else { "uplinkd" }
}

fn attributes(tls: bool) -> &'static str {
    if tls { "Path=/; HttpOnly; SameSite=Strict; Secure" } else { "Path=/; HttpOnly; SameSite=Strict" }
}

/// Browsers of a team, with some to spare.
const MOST_SESSIONS: usize = 32;

/// A browser that was closed is logged out after a day.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// A wall display needs the token once a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Id {
        Id::new([number; 32])
    }

    fn after(hours: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(hours * 3600)
    }

    #[test]
    fn a_session_lasts_while_it_is_used_and_a_week_at_most() {
        let mut sessions = Sessions::default();
        sessions.open(id(1), after(0));
        sessions.open(id(2), after(0));
        assert!(!sessions.is_open(&id(3), after(0)));
        for hour in 1..168 {
            assert!(sessions.is_open(&id(1), after(hour)), "{hour}");
        }
        assert!(!sessions.is_open(&id(2), after(167)), "unused for a day");
        assert!(!sessions.is_open(&id(1), after(168)));
    }

    #[test]
    fn log_out_closes_one_and_a_new_token_all() {
        let mut sessions = Sessions::default();
        for number in 1..=3 {
            sessions.open(id(number), after(0));
        }
        sessions.close(&id(1));
        assert!(!sessions.is_open(&id(1), after(0)) && sessions.is_open(&id(2), after(0)));
        sessions.close_all();
        assert!(!sessions.is_open(&id(2), after(0)) && !sessions.is_open(&id(3), after(0)));
    }

    #[test]
    fn who_has_not_come_for_longest_gives_way() {
        let mut sessions = Sessions::default();
        for number in 0..MOST_SESSIONS {
            sessions.open(id(number as u8), after(0));
        }
        for number in 1..MOST_SESSIONS {
            assert!(sessions.is_open(&id(number as u8), after(1)));
        }
        sessions.open(id(99), after(2));
        assert_eq!(sessions.open.len(), MOST_SESSIONS);
        assert!(!sessions.is_open(&id(0), after(2)) && sessions.is_open(&id(99), after(2)));
    }

    #[test]
    fn cookies_are_read_as_they_are_written() {
        for tls in [false, true] {
            let cookie = id(0xa5).set_cookie(tls);
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
            assert_eq!(cookie.contains("Secure"), tls);
            let sent = format!("theme=dark; {}; x", cookie.split(';').next().unwrap());
            assert_eq!(Id::in_cookies(&sent, tls).collect::<Vec<_>>(), [id(0xa5)]);
            assert_eq!(Id::in_cookies(&sent, !tls).count(), 0, "not one that was sent in clear");
        }
        for wrong in ["uplinkd=", "uplinkd", "uplinkd=zz", &format!("uplinkd={}", "é".repeat(32)), "=;;="] {
            assert_eq!(Id::in_cookies(wrong, false).count(), 0, "{wrong}");
        }
        assert_eq!(format!("{:?}", id(7)), "Id(…)");
    }
}
