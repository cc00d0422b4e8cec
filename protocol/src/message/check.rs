//! What a body may hold: checked before it is sealed and again after it is opened.
//!
//! Texts may be in any script. Refused is what no screen should be asked to show: control characters,
//! and in file names anything that hides what the name says.

use super::body::{Attachment, Body, Form, Statement, Word};
use crate::{
    document::FormError,
    limits::{
        ATTACHMENT_BYTES_MAX, ATTACHMENT_NAME_BYTES_MAX, ATTACHMENTS_MAX, FORM_CODE_BYTES_MAX,
        FORM_FIELDS_MAX, FORM_VALUE_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, REFERENCE_BYTES_MAX,
        STATEMENT_TEXT_BYTES_MAX, TEXT_BYTES_MAX,
    },
};

impl Body {
    /// Checks everything but the encoded size, which the cipher bounds.
    ///
    /// # Errors
    /// [`FormError`] with the first broken rule; it names no content.
    pub fn check_form(&self) -> Result<(), FormError> {
        let empty = self.text.is_none() && self.attachments.is_empty() && self.form.is_none();
        if empty && self.statement.is_none() {
            return broken("MB-01", "it says nothing: no text, form, attachment or statement");
        }
        if let Some(text) = &self.text {
            check_text("MB-02", "the text", text.reveal(), TEXT_BYTES_MAX, Lines::Many)?;
        }
        if let Some(reference) = &self.reference {
            check_text("MB-03", "the reference", reference.reveal(), REFERENCE_BYTES_MAX, Lines::One)?;
        }
        if self.attachments.len() > ATTACHMENTS_MAX {
            let what =
                format!("{} attachments, at most {ATTACHMENTS_MAX} are allowed", self.attachments.len());
            return broken("MB-04", what);
        }
        self.attachments.iter().try_for_each(check_attachment)?;
        if let Some(form) = &self.form {
            check_fields(form)?;
        }
        if let Some(statement) = &self.statement {
            if !self.attachments.is_empty() || self.form.is_some() {
                return broken("MB-07", "a statement has no attachments and no form");
            }
            check_statement(statement)?;
        }
        Ok(())
    }
}

/// Whether a text may have line breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Many,
}

fn broken<T>(rule: &'static str, what: impl Into<String>) -> Result<T, FormError> {
    Err(FormError { rule, what: what.into() })
}

fn check_text(rule: &'static str, name: &str, text: &str, max: usize, lines: Lines) -> Result<(), FormError> {
    if text.is_empty() || text.len() > max {
        return broken(rule, format!("{name} has {} bytes, 1 to {max} are allowed", text.len()));
    }
    let shown = |c: char| lines == Lines::Many && matches!(c, '\n' | '\r' | '\t');
    if text.chars().any(|c| c.is_control() && !shown(c)) {
        return broken(rule, format!("{name} holds a control character"));
    }
    Ok(())
}

fn check_attachment(attachment: &Attachment) -> Result<(), FormError> {
    let name = attachment.name.reveal();
    check_text("MB-05", "an attachment's name", name, ATTACHMENT_NAME_BYTES_MAX, Lines::One)?;
    // Isolates and overrides of direction make `exe.pdf` out of `fdp.exe`.
    let misleading = |c: char| matches!(c, '/' | '\\' | ':' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
    let dots = name.chars().all(|c| c == '.');
    if dots || name.trim() != name || name.chars().any(misleading) {
        return broken("MB-05", "an attachment's name is a path, or hides what it says");
    }
    if attachment.data.reveal().len() > ATTACHMENT_BYTES_MAX {
        let length = attachment.data.reveal().len();
        return broken("MB-04", format!("an attachment of {length} bytes, at most {ATTACHMENT_BYTES_MAX}"));
    }
    let media = &attachment.media_type;
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let formed = media.split_once('/').is_some_and(|(kind, name)| token(kind) && token(name));
    if media.len() > MEDIA_TYPE_BYTES_MAX || !formed {
        return broken("MB-05", "an attachment's media type is not of the form type/name");
    }
    Ok(())
}

fn check_fields(form: &Form) -> Result<(), FormError> {
    let code = |text: &str| {
        !text.is_empty()
            && text.len() <= FORM_CODE_BYTES_MAX
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let fields = form.fields.reveal();
    if fields.len() > FORM_FIELDS_MAX {
        return broken("MB-06", format!("{} form fields, at most {FORM_FIELDS_MAX}", fields.len()));
    }
    if !code(&form.code) || !fields.keys().all(|key| code(key)) {
        return broken("MB-06", "a form's codes are of a-z, 0-9 and -, at most 32");
    }
    fields
        .values()
        .try_for_each(|value| check_text("MB-06", "a form field", value, FORM_VALUE_BYTES_MAX, Lines::Many))
}

fn check_statement(statement: &Statement) -> Result<(), FormError> {
    let max = STATEMENT_TEXT_BYTES_MAX;
    check_text("MB-07", "a role", statement.role.reveal(), max, Lines::One)?;
    if let Some(form) = &statement.form {
        check_text("MB-07", "the form of an answer", form.reveal(), max, Lines::One)?;
    }
    let promise = statement.will.is_some() || statement.form.is_some() || statement.by.is_some();
    if promise && statement.word != Word::Acknowledged {
        return broken("MB-07", "only `acknowledged` says whether, how and by when it will be answered");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::{ids::MessageId, message::body::Tlp, redact::Redacted, time::Timestamp};

    fn body() -> Body {
        Body {
            tlp: Tlp::Amber,
            text: Some(Redacted("يرجى حفظ البيانات\n\tمن 10.0.0.1 \u{200F}".into())),
            reference: Some(Redacted("BR-2026/17".into())),
            attachments: Vec::new(),
            statement: None,
            drill: false,
            form: None,
        }
    }

    fn rule(change: impl Fn(&mut Body)) -> Option<&'static str> {
        let mut body = body();
        change(&mut body);
        body.check_form().err().map(|error| error.rule)
    }

    fn attachment(name: &str) -> Attachment {
        Attachment {
            name: Redacted(name.into()),
            media_type: "application/vnd.x+zip".into(),
            data: Redacted(ByteBuf::from(vec![1])),
        }
    }

    #[test]
    fn texts_in_any_script_and_no_control_characters() {
        assert_eq!(rule(|_| ()), None);
        assert_eq!(rule(|b| b.text = None), Some("MB-01"));
        for bad in ["", "bell \u{7}", "nul \0", "c1 \u{85}", "del \u{7F}"] {
            assert_eq!(rule(|b| b.text = Some(Redacted(bad.into()))), Some("MB-02"), "{bad:?}");
        }
        assert_eq!(rule(|b| b.text = Some(Redacted("a".repeat(TEXT_BYTES_MAX)))), None);
        assert_eq!(rule(|b| b.text = Some(Redacted("a".repeat(TEXT_BYTES_MAX + 1)))), Some("MB-02"));
        for bad in ["", "two\nlines", &"a".repeat(129)] {
            assert_eq!(rule(|b| b.reference = Some(Redacted(bad.into()))), Some("MB-03"), "{bad:?}");
        }
    }

    #[test]
    fn attachments_are_bounded_and_named_plainly() {
        for good in ["scan.pdf", "تقرير.pdf", "..hidden", "a b.txt"] {
            assert_eq!(rule(|b| b.attachments = vec![attachment(good)]), None, "{good}");
        }
        let bad = ["", ".", "..", "a/b", "a\\b", "c:x", " a", "a ", "a\nb", "x\u{202E}fdp.exe", "\u{2066}a"];
        for name in bad {
            assert_eq!(rule(|b| b.attachments = vec![attachment(name)]), Some("MB-05"), "{name:?}");
        }
        for media in ["", "text", "text/", "/plain", "a/b/c", "text/pl ain", "te\nxt/plain", ".a/b"] {
            let mut one = attachment("a");
            one.media_type = media.into();
            assert_eq!(rule(|b| b.attachments = vec![one.clone()]), Some("MB-05"), "{media:?}");
        }
        assert_eq!(rule(|b| b.attachments = vec![attachment("a"); 17]), Some("MB-04"));
        let mut large = attachment("a");
        large.data = Redacted(ByteBuf::from(vec![0; ATTACHMENT_BYTES_MAX + 1]));
        assert_eq!(rule(|b| b.attachments = vec![large.clone()]), Some("MB-04"));
    }

    #[test]
    fn forms_are_bounded_and_coded() {
        let form = |code: &str, key: &str, value: &str, count: usize| {
            let fields = (0..count).map(|i| (format!("{key}{i}"), value.to_owned())).collect();
            Some(Form { code: code.into(), fields: Redacted(fields) })
        };
        assert_eq!(rule(|b| b.form = form("preservation", "ip-", "10.0.0.1", 64)), None);
        assert_eq!(rule(|b| b.form = form("preservation", "ip-", "10.0.0.1", 65)), Some("MB-06"));
        assert_eq!(rule(|b| b.form = form("Preservation", "ip", "1", 1)), Some("MB-06"));
        assert_eq!(rule(|b| b.form = form("p", "IP", "1", 1)), Some("MB-06"));
        assert_eq!(rule(|b| b.form = form("p", "ip", "\0", 1)), Some("MB-06"));
        assert_eq!(rule(|b| b.form = form("p", "ip", &"1".repeat(4_097), 1)), Some("MB-06"));
    }

    #[test]
    fn statements_carry_a_role_and_nothing_to_download() {
        let statement = |word, will, role: &str| {
            Some(Statement {
                answers: MessageId::from_bytes([1; 32]),
                word,
                role: Redacted(role.into()),
                will,
                form: None,
                by: None,
            })
        };
        let acknowledged = statement(Word::Acknowledged, Some(true), "duty officer");
        assert_eq!(rule(|b| b.statement = acknowledged.clone()), None);
        assert_eq!(
            rule(|b| {
                b.text = None;
                b.statement = acknowledged.clone();
            }),
            None
        );
        assert_eq!(rule(|b| b.statement = statement(Word::Declined, Some(false), "duty")), Some("MB-07"));
        assert_eq!(rule(|b| b.statement = statement(Word::Declined, None, "")), Some("MB-07"));
        assert_eq!(rule(|b| b.statement = statement(Word::Declined, None, &"a".repeat(257))), Some("MB-07"));
        assert_eq!(
            rule(|b| {
                b.attachments = vec![attachment("a")];
                b.statement = acknowledged.clone();
            }),
            Some("MB-07")
        );
        assert_eq!(
            rule(|b| {
                b.statement = acknowledged.clone();
                let late = |s: &mut Statement| s.by = Some(Timestamp::MAX);
                b.statement.iter_mut().for_each(late);
            }),
            None
        );
    }
}
