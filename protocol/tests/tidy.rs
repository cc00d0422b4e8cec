//! House rules that a compiler does not know, read off the repository's own files. Each failure names the file
//! and what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Lines of a Rust file that says nothing about its length.
const LINES_MAX: usize = 500;

/// Where a file says why it is longer: among its first lines.
const LINES_OF_HEAD: usize = 40;

#[test]
fn files_are_short_or_say_why_not() {
    check(|file| {
        let lines = file.text.lines().count();
        let reason = file.text.lines().take(LINES_OF_HEAD).find_map(|line| line.split_once("// LONG: "));
        let excused = reason.is_some_and(|(_, reason)| !reason.trim().is_empty());
        (lines > LINES_MAX && !excused).then(|| {
            format!("{lines} lines: split it by subject, or say why not in a line `// LONG: reason`")
        })
    });
}

#[test]
fn files_say_what_they_own() {
    check(|file| {
        let opens = file.text.starts_with("//! ") || file.text.starts_with("#![no_main]\n//! ");
        (!opens).then(|| "begin with `//!`: what the file owns and what it refuses".into())
    });
}

#[test]
fn files_are_named_for_their_subject() {
    let vague = ["utils", "util", "common", "helpers", "helper", "types", "misc"];
    check(|file| {
        let stem = file.path.file_stem()?.to_str()?;
        if stem == "mod" {
            return Some("put the module into foo.rs beside the folder foo/".into());
        }
        vague.contains(&stem).then(|| "name it for its subject".into())
    });
}

#[test]
fn nothing_is_left_unfinished() {
    // Joined here, so that this file does not name what it looks for.
    let markers = [
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["dbg", "!("].concat(),
        ["FIX", "ME"].concat(),
        ["TO", "DO"].concat(),
        ["XX", "X"].concat(),
        // With a reason in it, it marks what another test starts.
        ["#[ig", "nore]"].concat(),
    ];
    check(|file| {
        let (number, line) = file
            .text
            .lines()
            .enumerate()
            .find(|(_, line)| markers.iter().any(|marker| line.contains(marker)))?;
        Some(format!("line {}: finish it or take it out: {}", number + 1, line.trim()))
    });
}

#[test]
fn every_test_file_belongs_to_the_one_binary_of_its_crate() {
    let mut faults = Vec::new();
    for name in ["protocol", "node"] {
        let folder = root().join(name).join("tests");
        let main = folder.join("main.rs");
        if !folder.exists() {
            continue;
        }
        let mut reached = BTreeSet::new();
        reach(&main, &folder, &mut reached);
        let files = rust_files(&folder);
        let lost = files.iter().filter(|file| !reached.contains(*file));
        faults.extend(lost.map(|file| format!("{}: no `mod` line leads to it", shown(file))));
        // Without it, cargo builds each file beside main.rs a second time, as a binary of its own.
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let beside = files.iter().any(|file| file.parent() == Some(&folder) && *file != main);
        if beside && !manifest.contains("autotests = false") {
            faults.push(format!(
                "{name}/Cargo.toml: `autotests = false` and a [[test]] with path tests/main.rs"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_limit_gives_its_reason() {
    let files = rust_files(&root().join("protocol/src/limits"));
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut constants = 0;
    let mut faults = Vec::new();
    let mut previous = "";
    for line in text.lines() {
        if let Some(rest) = line.trim_start().strip_prefix("pub const ") {
            constants += 1;
            if !previous.trim_start().starts_with("/// ") {
                faults.push(rest.split(':').next().unwrap_or(rest));
            }
        }
        previous = line;
    }
    assert!(constants > 40, "only {constants} limits found: have the files moved?");
    assert!(faults.is_empty(), "without a doc comment that gives unit and reason: {faults:?}");
}

#[test]
fn every_rule_names_tests_that_exist() {
    let tests = test_functions();
    assert!(tests.len() > 20, "only {} tests found: has the source moved?", tests.len());
    let mut faults = Vec::new();
    for rule in rules() {
        if rule.tests.is_empty() {
            faults.push(format!("{}: no test", rule.id));
        }
        let missing = rule.tests.iter().filter(|test| !names_a_test(&tests, test));
        faults.extend(missing.map(|test| format!("{}: no test function {test}", rule.id)));
    }
    assert!(faults.is_empty(), "protocol/VALIDATION.md\n{}\n", faults.join("\n"));
}

#[test]
fn every_rule_has_one_row() {
    let mut rows = BTreeMap::<String, usize>::new();
    for rule in rules() {
        *rows.entry(rule.id).or_default() += 1;
    }
    assert!(!rows.is_empty(), "protocol/VALIDATION.md has no rules: has its form changed?");
    let doubled: Vec<_> = rows.iter().filter(|(_, count)| **count > 1).map(|(id, _)| id).collect();
    assert!(doubled.is_empty(), "protocol/VALIDATION.md: more than one row for {doubled:?}");
}

#[test]
fn every_rule_that_the_code_names_is_written_down() {
    let known: BTreeSet<_> = rules().into_iter().map(|rule| rule.id).collect();
    let mut faults = BTreeSet::new();
    for path in ["protocol/src", "node/src"].iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        // Every piece between quotation marks, be it a literal or not: what is no literal is no rule's id either.
        let missing = text.split('"').filter(|id| is_rule(id) && !known.contains(*id));
        faults.extend(missing.map(|id| format!("{}: {id} has no row", shown(&path))));
    }
    assert!(faults.is_empty(), "protocol/VALIDATION.md\n{}\n", Vec::from_iter(faults).join("\n"));
}

/// A source file.
struct File {
    path: PathBuf,
    text: String,
}

/// A row of VALIDATION.md.
struct Rule {
    id: String,
    tests: Vec<String>,
}

/// Holds every Rust file of the repository to one rule.
fn check(rule: impl Fn(&File) -> Option<String>) {
    let mut seen = 0;
    let mut faults = Vec::new();
    for folder in ["protocol/src", "protocol/tests", "protocol/examples", "protocol/fuzz/src", "node"] {
        for path in rust_files(&root().join(folder)) {
            seen += 1;
            let file = File { text: fs::read_to_string(&path).unwrap(), path };
            faults.extend(rule(&file).map(|fault| format!("{}: {fault}", shown(&file.path))));
        }
    }
    assert!(seen > 10, "only {seen} files found: has the source moved?");
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The Rust files below a folder, sorted; none if it does not exist.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Follows `mod` lines: `folder` is where the modules of `file` lie.
fn reach(file: &Path, folder: &Path, reached: &mut BTreeSet<PathBuf>) {
    let Ok(text) = fs::read_to_string(file) else { return };
    reached.insert(file.to_path_buf());
    for line in text.lines() {
        let declared = line.trim().strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
        if let Some((before, name)) = declared
            && (before.is_empty() || before.starts_with("pub"))
        {
            reach(&folder.join(format!("{name}.rs")), &folder.join(name), reached);
        }
    }
}

fn rules() -> Vec<Rule> {
    let text = fs::read_to_string(root().join("protocol/VALIDATION.md")).unwrap();
    let rows = text.split("## Rules without a vector").next().unwrap_or_default();
    let mut rules = Vec::new();
    for line in rows.lines() {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let (Some(id), Some(tests)) = (cells.first(), cells.last()) else { continue };
        let id = id.trim_matches('`');
        if line.trim().starts_with('|') && is_rule(id) {
            let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            rules.push(Rule { id: id.to_owned(), tests });
        }
    }
    rules
}

/// Two or three capitals, a hyphen, two digits.
fn is_rule(text: &str) -> bool {
    text.split_once('-').is_some_and(|(letters, digits)| {
        (2..=3).contains(&letters.len())
            && letters.bytes().all(|byte| byte.is_ascii_uppercase())
            && digits.len() == 2
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Every test function as (path of its file without crate, src or tests; name).
fn test_functions() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for folder in ["protocol/src", "protocol/tests", "node/src", "node/tests"] {
        let folder = root().join(folder);
        for path in rust_files(&folder) {
            let text = fs::read_to_string(&path).unwrap();
            let place = path.strip_prefix(&folder).unwrap().with_extension("");
            let place = place.iter().map(|part| part.to_str().unwrap().to_owned());
            let place: Vec<_> = place.filter(|part| part != "tests").collect();
            let mut attribute = false;
            for line in text.lines().map(str::trim) {
                let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                if let Some(name) = name.filter(|_| attribute) {
                    let name = name.split(['(', '<']).next().unwrap_or_default();
                    found.push((place.clone(), name.to_owned()));
                }
                // Between the attribute and its function stand only further attributes and comments.
                let carries_on = attribute && (line.starts_with("#[") || line.starts_with("//"));
                attribute = carries_on || line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            }
        }
    }
    found
}

/// Whether `test` (`name`, or `file::name` with as much of the file's path as tells it apart) is a test function.
/// Modules called `tests` may be named or left out.
fn names_a_test(tests: &[(Vec<String>, String)], test: &str) -> bool {
    let parts: Vec<_> = test.split("::").filter(|part| *part != "tests").collect();
    let Some((name, place)) = parts.split_last() else { return false };
    tests.iter().any(|(path, found)| {
        found == name && path.iter().map(String::as_str).collect::<Vec<_>>().ends_with(place)
    })
}

#[test]
fn the_reading_of_rules_and_tests_is_itself_right() {
    assert!(is_rule("CH-03") && is_rule("DOC-12"));
    assert!(!is_rule("CH-3") && !is_rule("ch-03") && !is_rule("X-12") && !is_rule("CH-033"));
    let tests = vec![(vec!["document".to_owned(), "canonical".to_owned()], "refuses".to_owned())];
    for known in ["refuses", "canonical::refuses", "document::canonical::tests::refuses"] {
        assert!(names_a_test(&tests, known), "{known}");
    }
    for unknown in ["refuse", "envelope::refuses", "document::refuses", ""] {
        assert!(!names_a_test(&tests, unknown), "{unknown}");
    }
}
