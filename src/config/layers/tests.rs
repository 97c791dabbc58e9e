//! Overrides over a file, and back.

use proptest::prelude::*;

use super::*;
use crate::config::Document;

const FILE: &str = r#"
[log]
level = "warn"

[streams.main]
enabled = true

[streams.main.rate]
max_kbps = 4000
min_kbps = 500

[[streams.main.outputs]]
name = "studio"
url = "srt://ingest.example.net:9000"
stream_id = "user:secret"

[[streams.main.outputs]]
name = "spare"
url = "srt://ingest.example.net:9001"
latency_ms = 500
"#;

fn layers(overrides: &str) -> Layers {
    Layers::parse(FILE, overrides).unwrap_or_else(|problems| panic!("{problems}"))
}

fn main() -> StreamName {
    StreamName::new("main").unwrap()
}

/// What the overrides make of the file's `main`, as the two problems' documents and places.
fn refused(overrides: &str) -> Vec<(Document, usize, usize, String)> {
    let problems = Layers::parse(FILE, overrides).expect_err("it is wrong").0;
    problems.into_iter().map(|it| (it.document, it.line, it.column, it.key)).collect()
}

/// Of these settings, with who says so.
fn settings(layers: &Layers, keys: &[&str]) -> Vec<(String, Origin)> {
    let find = |key: &str| {
        let setting = layers.settings().into_iter().find(|it| it.key.to_string() == key);
        setting.map(|it| (it.value.to_string(), it.origin)).unwrap_or_else(|| panic!("no {key}"))
    };
    keys.iter().map(|key| find(key)).collect()
}

#[test]
fn overrides_are_laid_over_the_file_by_sections_and_names() {
    let layers = layers(
        "[log]\nlevel = 'debug'\n[streams.main.rate]\nmax_kbps = 3000\n\
         [[streams.main.outputs]]\nname = 'spare'\nlatency_ms = 800\n\
         [[streams.main.outputs]]\nname = 'third'\nurl = 'srt://127.0.0.1:9002'\n[streams.second]",
    );
    let stream = &layers.config.streams["main"];
    assert_eq!((stream.rate.min.as_kbps(), stream.rate.max.as_kbps()), (500, 3000));
    let outputs: Vec<_> =
        stream.outputs.iter().map(|it| (it.name.as_str(), it.latency.as_millis(), it.url.port)).collect();
    assert_eq!(outputs, [("studio", 2000, 9000), ("spare", 800, 9001), ("third", 2000, 9002)]);
    assert!(layers.config.streams.contains_key("second"));
    let keys = [
        "log.level",
        "streams.main.rate.max_kbps",
        "streams.main.rate.min_kbps",
        "streams.main.rate.start_kbps",
        "streams.main.outputs[spare].latency_ms",
        "streams.main.outputs[spare].name",
        "streams.main.outputs[third].name",
        "streams.main.outputs[studio].stream_id",
        "api.listen",
    ];
    let of = |value: &str, origin| (value.to_owned(), origin);
    assert_eq!(
        settings(&layers, &keys),
        [
            of("\"debug\"", Origin::Override),
            of("3000", Origin::Override),
            of("500", Origin::Etc),
            of("1500", Origin::Default),
            of("800", Origin::Override),
            of("\"spare\"", Origin::Etc),
            of("\"third\"", Origin::Override),
            of("\"***\"", Origin::Etc),
            of("\"127.0.0.1:9980\"", Origin::Default),
        ]
    );
}

#[test]
fn what_is_removed_has_its_default_or_is_gone() {
    let layers = layers(
        "remove = ['streams.main.rate.min_kbps', 'streams.main.outputs[studio]', 'streams.nobody', 'log']",
    );
    assert_eq!(layers.config.streams["main"].rate.min.as_kbps(), 300);
    assert_eq!(layers.config.streams["main"].outputs.len(), 1);
    let origins = settings(&layers, &["streams.main.rate.min_kbps", "log.level"]);
    assert_eq!(origins.map_origins(), [Origin::Default, Origin::Default]);
    assert_eq!(layers.removed().len(), 4);
}

trait Origins {
    fn map_origins(&self) -> Vec<Origin>;
}

impl Origins for Vec<(String, Origin)> {
    fn map_origins(&self) -> Vec<Origin> {
        self.iter().map(|(_, origin)| *origin).collect()
    }
}

#[test]
fn a_problem_has_the_place_in_the_document_that_is_at_fault() {
    let max = "streams.main.rate.max_kbps".to_owned();
    assert_eq!(
        refused("\n[streams.main.rate]\nmax_kbps = 'much'"),
        [(Document::Overrides, 3, 12, max.clone())]
    );
    let unknown = refused("[streams.main]\nlatency = 1");
    assert_eq!(unknown, [(Document::Overrides, 2, 1, "streams.main.latency".to_owned())]);
    // Neither is wrong by itself: the file was there before.
    let min = "streams.main.rate.min_kbps".to_owned();
    assert_eq!(refused("[streams.main.rate]\nmax_kbps = 400"), [(Document::Overrides, 2, 12, min)]);
    let lost = refused("remove = ['streams.main.outputs[studio].url']");
    assert_eq!(lost[0].3, "streams.main.outputs[0].url");
    let file = FILE.replace("4000", "-1");
    let problems = Layers::parse(&file, "[log]\nlevel = 'loud'").unwrap_err().0;
    let places: Vec<_> = problems.iter().map(|it| (it.document, it.line, it.column)).collect();
    assert_eq!(places, [(Document::File, 9, 12), (Document::Overrides, 2, 9)]);
}

#[test]
fn syntax_errors_of_both_come_together() {
    let problems = Layers::parse("[log\nlevel = 1", "[streams.main]\nenabled = yes\n").unwrap_err();
    let places: Vec<_> = problems.0.iter().map(|it| (it.document, it.line)).collect();
    assert!(
        places.contains(&(Document::File, 1)) && places.contains(&(Document::Overrides, 2)),
        "{problems}"
    );
    let rendered = problems.render(|document| format!("{document:?}"));
    assert!(rendered.contains("Overrides:2:11: streams.main.enabled"), "{rendered}");
}

#[test]
fn where_the_api_listens_is_the_file_s_alone() {
    for wrong in ["[api]\nlisten = '127.0.0.1:1'", "remove = ['api.token_file']", "remove = ['api']"] {
        assert_eq!(refused(wrong).len(), 1, "{wrong}");
    }
    for wrong in ["remove = 1", "remove = [1]", "remove = ['']", "remove = ['a b']"] {
        assert_eq!(refused(wrong)[0].3, "remove", "{wrong}");
    }
    assert!(Layers::parse("remove = []", "").is_err(), "a file takes nothing out of itself");
}

#[test]
fn a_message_about_another_place_says_in_which_document() {
    let twin = "[[streams.main.outputs]]\nname = 'third'\nurl = 'srt://ingest.example.net:9001'";
    let said = Layers::parse(FILE, twin).unwrap_err().to_string();
    assert!(said.contains("line 19 of the file"), "{said}");
}

#[test]
fn overrides_for_a_stream_say_only_what_differs() {
    let layers = layers("[log]\nlevel = 'debug'\n[streams.main.rate]\nmax_kbps = 3000");
    let mut wanted = layers.stream(&main()).unwrap().clone();
    wanted.remove("rate");
    wanted.insert("audio".into(), "source = 'test'".parse::<Table>().unwrap().into());
    let overrides = layers.overrides_for(&main(), Some(wanted));
    let document: Table = overrides.parse().unwrap();
    let expected =
        "remove = ['streams.main.rate']\n[log]\nlevel = 'debug'\n[streams.main.audio]\nsource = 'test'";
    assert_eq!(document, expected.parse::<Table>().unwrap(), "{overrides}");
    let none = layers.overrides_for(&main(), None);
    assert_eq!(
        none.parse::<Table>().unwrap(),
        "remove = ['streams.main']\nlog.level = 'debug'".parse().unwrap()
    );
    let file_alone = Layers::parse(FILE, "").unwrap();
    let same = file_alone.stream(&main()).unwrap().clone();
    assert_eq!(file_alone.overrides_for(&main(), Some(same)), "");
}

#[test]
fn another_order_of_outputs_is_kept() {
    let layers = layers("");
    let mut wanted = layers.stream(&main()).unwrap().clone();
    wanted["outputs"].as_array_mut().unwrap().reverse();
    let reordered = Layers::parse(FILE, &layers.overrides_for(&main(), Some(wanted.clone()))).unwrap();
    assert_eq!(reordered.stream(&main()), Some(&wanted));
    assert_eq!(reordered.config.streams["main"].outputs[0].name.as_str(), "spare");
}

#[test]
fn what_is_hidden_is_kept_where_it_is_sent_back() {
    let layers = layers("");
    let shown = without_secrets(Value::Table(layers.stream(&main()).unwrap().clone()));
    assert!(!shown.to_string().contains("secret"), "{shown}");
    let Value::Table(shown) = shown else { panic!("a section") };
    assert_eq!(&layers.revealed(&main(), shown), layers.stream(&main()).unwrap());
}

/// Small documents, so that keys, names and kinds of values meet each other.
fn section() -> impl Strategy<Value = Table> {
    let leaf = prop_oneof![
        (0i64..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from),
        Just(Value::Array(Vec::new())),
        prop::collection::vec(0i64..3, 0..3).prop_map(|list| list
            .into_iter()
            .map(Value::from)
            .collect::<Vec<_>>()
            .into()),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        let table = prop::collection::btree_map("[a-c]", inner, 0..3)
            .prop_map(|entries| entries.into_iter().collect::<Table>());
        let named = prop::collection::vec(("[a-c]", table.clone()), 0..4).prop_map(|elements| {
            let element = |(name, mut table): (String, Table)| {
                table.insert("name".to_owned(), name.into());
                Value::Table(table)
            };
            Value::Array(elements.into_iter().map(element).collect())
        });
        prop_oneof![table.prop_map(Value::Table), named]
    });
    prop::collection::btree_map("[a-c]", value, 0..4).prop_map(|entries| entries.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the file has, and whatever is wanted: the overrides make the one of the other.
    #[test]
    fn a_difference_laid_over_gives_what_is_wanted(below in section(), wanted in section()) {
        let mut removed = Vec::new();
        let patch = difference(&below, wanted.clone(), &KeyPath::default(), &mut removed);
        let removed: Vec<KeyPath> =
            removed.iter().map(|path| path.to_string().parse().expect("it can be read again")).collect();
        let (below, patch) = (below.to_string(), patch.to_string());
        let laid = crate::config::parse::laid_over(&below, &patch, &removed);
        prop_assert_eq!(laid, wanted, "{}\n+ {}\n- {:?}", below, patch, removed);
    }

    /// Any text as overrides is answered, with places that are in the text.
    #[test]
    fn any_overrides_are_answered(overrides in "[a-e0-9\\[\\]{}=.,#\"'\r\n\té_-]{0,120}") {
        match Layers::parse(FILE, &overrides) {
            Ok(layers) => prop_assert!(!layers.settings().is_empty()),
            Err(problems) => for problem in problems.0 {
                let text = match problem.document {
                    Document::File => FILE,
                    Document::Overrides => &overrides,
                };
                let line = text.split('\n').nth(problem.line - 1).expect("the line exists");
                prop_assert!(problem.column <= line.chars().count() + 1, "{}", problem);
            }
        }
    }
}
