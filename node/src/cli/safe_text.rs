//! Text that others wrote, made safe to show on a terminal.
//!
//! Control characters and invisible formatting become `�`, so no text moves the cursor, changes colours, or
//! reorders what stands around it; right-to-left text is isolated; a text of several lines is hard-wrapped
//! behind a margin that it cannot reach, so it cannot forge a line of the screen.

/// One line: line breaks become visible too.
pub(super) fn line(text: &str) -> String {
    isolated(text.chars().map(|c| if is_break(c) { '␤' } else { neutral(c) }).collect())
}

/// Several lines, each behind the margin `  | `.
pub(super) fn block(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut lines = String::new();
    for source in text.trim_end_matches('\n').split(is_break) {
        for piece in wrapped(source) {
            lines.push_str(MARGIN);
            lines.push_str(&isolated(piece));
            lines.push('\n');
        }
    }
    lines
}

/// A name for a file: the last component of what was sent, without anything that a shell or a file system
/// takes for more than a letter.
pub(super) fn file_name(sent: &str, number: u64) -> String {
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String =
        last.chars().map(|c| if c.is_alphanumeric() || "._- ".contains(c) { c } else { '_' }).collect();
    let plain = plain.trim_matches([' ', '.', '-']);
    if plain.is_empty() {
        return format!("attachment-{number}");
    }
    // Common file systems take 255 bytes; room is left for the number that avoids overwriting.
    let mut name = plain.to_owned();
    while name.len() > FILE_NAME_BYTES_MAX {
        name.pop();
    }
    name
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{0b}' | '\u{0c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn neutral(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => REPLACEMENT,
        // Embeddings, overrides and isolates would reorder what stands around them.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => REPLACEMENT,
        // Invisible: word joiners and fillers, annotation, language tags.
        '\u{200b}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' => REPLACEMENT,
        '\u{e0000}'..='\u{e0fff}' => REPLACEMENT,
        c => c,
    }
}

/// Isolates the text if any of it runs from right to left (Hebrew, Arabic, Syriac, Thaana, N'Ko and after).
fn isolated(text: String) -> String {
    let runs_left = |c: char| {
        matches!(c, '\u{590}'..='\u{8ff}' | '\u{200f}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}')
            || matches!(c, '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
    };
    if text.chars().any(runs_left) { format!("\u{2068}{text}\u{2069}") } else { text }
}

/// Cuts a line into pieces that fit beside the margin, at spaces where there are any.
fn wrapped(line: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut columns = 0;
    for c in line.replace('\t', "    ").chars() {
        let c = neutral(c);
        if columns + width(c) > COLUMNS {
            let cut = piece.rfind(' ').filter(|cut| *cut > 0).map_or(piece.len(), |cut| cut + 1);
            let rest = piece.split_off(cut);
            columns = rest.chars().map(width).sum();
            pieces.push(std::mem::replace(&mut piece, rest).trim_end().to_owned());
        }
        piece.push(c);
        columns += width(c);
    }
    pieces.push(piece);
    pieces
}

/// Columns of a character, at most: East Asian letters and everything rarer count as two.
fn width(c: char) -> usize {
    if c < '\u{1100}' { 1 } else { 2 }
}

/// What stands before each line of a block.
const MARGIN: &str = "  | ";

/// Columns of a block: a terminal of 80 less the margin and a little. A letter whose width is not known
/// counts as two, so a line never wraps by itself.
const COLUMNS: usize = 74;

/// Bytes of a saved file's name.
const FILE_NAME_BYTES_MAX: usize = 200;

/// What stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_move_the_cursor_or_forge_a_line() {
        let hostile =
            "ok\u{1b}[2J\u{1b}]0;owned\u{7}\r\nfrom  SG\u{9b}1m\u{202e}drawkcab\u{2028}x\u{85}y\u{8}";
        let shown = block(hostile);
        assert!(shown.lines().all(|line| line.starts_with(MARGIN)), "{shown:?}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(!shown.contains('\u{202e}'));
        let shown = line(hostile);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert!(shown.contains('␤'));
    }

    #[test]
    fn a_long_line_is_cut_before_the_terminal_cuts_it() {
        let forged = format!("{}state      acknowledged", "x".repeat(200));
        for text in [forged, "警".repeat(100), "a b ".repeat(60)] {
            let shown = block(&text);
            assert!(shown.lines().all(|line| line.starts_with(MARGIN)));
            let columns = |line: &str| line.chars().map(width).sum::<usize>();
            assert!(shown.lines().all(|line| columns(line) <= 80), "{shown}");
            let kept: String = shown.lines().filter_map(|line| line.strip_prefix(MARGIN)).collect();
            assert_eq!(kept.replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn right_to_left_text_is_isolated_and_other_text_left_alone() {
        assert_eq!(line("الوحدة"), "\u{2068}الوحدة\u{2069}");
        assert_eq!(line("Unité 24/7"), "Unité 24/7");
        assert_eq!(line("\u{2069}الوحدة"), "\u{2068}\u{fffd}الوحدة\u{2069}");
    }

    #[test]
    fn file_names_lose_paths_and_everything_special() {
        for (sent, saved) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\log.txt", "log.txt"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("..", "attachment-3"),
            ("a\u{202e}gpj.exe", "a_gpj.exe"),
            ("تقرير.pdf", "تقرير.pdf"),
        ] {
            assert_eq!(file_name(sent, 3), saved, "{sent:?}");
        }
        assert!(file_name(&"é".repeat(300), 1).len() <= FILE_NAME_BYTES_MAX);
    }
}
