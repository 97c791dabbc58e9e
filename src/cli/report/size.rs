//! What is left out of an archive that would be too large for a letter.

use super::Page;
use super::answers::{FLIGHT, RATE};

/// The page of this name tells what is missing.
pub const LEFT_OUT: &str = "left-out.txt";

/// The name of the page that is cut, and is never left out as a whole before the recordings are.
pub const JOURNAL: &str = "journal.txt";

/// Takes the next step to a smaller archive: the rates' pages, then the flight recordings, the largest first, then
/// half of the journal at a time, then whatever is the largest. False where nothing is left to take.
pub fn shrink(pages: &mut Vec<Page>) -> bool {
    let before = pages.len();
    pages.retain(|page| !page.name.starts_with(RATE));
    if pages.len() < before {
        return true;
    }
    if leave_out_largest(pages, |page| page.name.starts_with(FLIGHT)) {
        return true;
    }
    match pages.iter_mut().find(|page| page.name == JOURNAL && page.text.len() > SHORTEST_JOURNAL) {
        Some(journal) => {
            let end = second_half(&journal.text).to_owned();
            journal.text = end;
            true
        }
        None => leave_out_largest(pages, |page| page.name != LEFT_OUT),
    }
}

/// In words, what pages of these names and sizes in bytes have lost.
pub fn losses(complete: &[(String, usize)], pages: &[Page], limit: u64) -> String {
    let mut text =
        format!("The archive shall have {limit} bytes at most, which is what a letter takes along.\n");
    for (name, size) in complete {
        match pages.iter().find(|page| page.name == *name) {
            None => text.push_str(&format!("{name}: left out, {size} bytes\n")),
            Some(page) if page.text.len() < *size => {
                text.push_str(&format!("{name}: the last {} of {size} bytes are here\n", page.text.len()));
            }
            Some(_) => {}
        }
    }
    text
}

fn leave_out_largest(pages: &mut Vec<Page>, may_go: impl Fn(&Page) -> bool) -> bool {
    let candidates = pages.iter().enumerate().filter(|(_, page)| may_go(page));
    let largest = candidates.max_by_key(|(_, page)| page.text.len()).map(|(at, _)| at);
    largest.map(|at| pages.remove(at)).is_some()
}

/// From the beginning of a line, where the half has one that is not its end.
fn second_half(text: &str) -> &str {
    let half = &text[text.ceil_char_boundary(text.len().div_ceil(2))..];
    half.split_once('\n').map(|(_, lines)| lines).filter(|lines| !lines.is_empty()).unwrap_or(half)
}

/// In bytes: with less of it, it is not the journal that is too large.
const SHORTEST_JOURNAL: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pages: &[Page]) -> Vec<&str> {
        pages.iter().map(|page| page.name.as_str()).collect()
    }

    #[test]
    fn rates_go_first_then_flights_one_by_one_then_the_journals_beginning() {
        let page = |name: &str, size: usize| Page::new(name, "é12345\n".repeat(size));
        let mut pages = vec![
            page("machine.txt", 10),
            page("journal.txt", 1000),
            page("rate-a-b.json", 1),
            page("rate-b-b.json", 1),
            page("flight-a.jsonl", 2),
            page("flight-b.jsonl", 3),
        ];
        let complete: Vec<_> = pages.iter().map(|page| (page.name.clone(), page.text.len())).collect();
        assert!(shrink(&mut pages));
        assert_eq!(names(&pages), ["machine.txt", "journal.txt", "flight-a.jsonl", "flight-b.jsonl"]);
        assert!(shrink(&mut pages));
        assert_eq!(names(&pages), ["machine.txt", "journal.txt", "flight-a.jsonl"]);
        assert!(shrink(&mut pages));
        assert_eq!(names(&pages), ["machine.txt", "journal.txt"]);
        assert!(shrink(&mut pages));
        assert!(pages[1].text.starts_with("é12345\n") && (3900..=4000).contains(&pages[1].text.len()));
        let told = losses(&complete, &pages, 5_000_000);
        assert!(told.contains("flight-b.jsonl: left out, 24 bytes\n"), "{told}");
        assert!(told.contains("journal.txt: the last 3992 of 8000 bytes are here\n"), "{told}");
        assert!(!told.contains("machine.txt"), "{told}");
    }

    #[test]
    fn whatever_is_too_large_goes_in_the_end() {
        let mut pages =
            vec![Page::new("journal.txt", "x".repeat(5000)), Page::new("a.json", "x".repeat(3000))];
        let mut steps = 0;
        while shrink(&mut pages) {
            steps += 1;
        }
        assert!(pages.is_empty());
        assert_eq!(steps, 5, "the journal thrice by halves, then each page");
    }
}
