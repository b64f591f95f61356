//! The text of a configuration of nginx as directives and their words.

/// A directive, with the line on which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub line: usize,
    pub words: Vec<String>,
}

/// Takes a text apart.
///
/// # Errors
/// The line and what is wrong with it. Blocks are among what is wrong.
pub(super) fn directives(text: &str) -> Result<Vec<Directive>, (usize, String)> {
    let (mut all, mut words, mut begins) = (Vec::new(), Vec::new(), 1);
    let (mut line, mut rest) = (1, text.chars().peekable());
    while let Some(&next) = rest.peek() {
        match next {
            '\n' => {
                line += 1;
                rest.next();
            }
            ' ' | '\t' | '\r' => {
                rest.next();
            }
            '#' => while rest.next_if(|one| *one != '\n').is_some() {},
            ';' => {
                rest.next();
                if words.is_empty() {
                    return Err((line, "there is a ; without a directive".to_owned()));
                }
                let words = std::mem::take(&mut words);
                all.push(Directive { line: begins, words });
            }
            '{' | '}' => {
                let whose = words.first().map(|name| format!(" of \"{name}\"")).unwrap_or_default();
                return Err((
                    line,
                    format!("narthex does not translate blocks, such as the one{whose}"),
                ));
            }
            _ => {
                if words.is_empty() {
                    begins = line;
                }
                words.push(word(&mut rest, &mut line)?);
                if let [name] = words.as_slice()
                    && name == "if"
                {
                    // Its condition need not look like words of a directive.
                    return Err((
                        line,
                        "narthex does not translate blocks, such as the one of \"if\"".to_owned(),
                    ));
                }
            }
        }
    }
    match words.first() {
        Some(name) => Err((begins, format!("\"{name}\" does not end with a ;"))),
        None => Ok(all),
    }
}

/// The names of the directives of a text that stand outside of all blocks, with their lines.
///
/// # Errors
/// The line, and what is wrong with it.
pub(in crate::dialect::annotations::nginx) fn outermost(text: &str) -> Result<Vec<(usize, String)>, String> {
    let (mut all, mut line, mut depth) = (Vec::new(), 1_usize, 0_usize);
    // Whether the next word is a directive, whether the character before ended a word, and the quote that is open.
    let (mut begins, mut quote) = (true, None);
    let mut name: Option<(usize, String)> = None;
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        line += usize::from(next == '\n');
        let in_word = name.is_some();
        match (quote, next) {
            (_, '\\') => {
                line += usize::from(rest.next() == Some('\n'));
            }
            (Some(open), _) => {
                if next == open {
                    quote = None;
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(next),
            (None, '#') if !in_word => while rest.next_if(|one| *one != '\n').is_some() {},
            (None, ';') => begins = true,
            (None, '{') => (depth, begins) = (depth + 1, true),
            (None, '}') => {
                begins = true;
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| format!("line {line}: there is a }} too many"))?;
            }
            (None, _) if next.is_whitespace() => {}
            (None, _) => {
                if depth == 0 && begins && !in_word {
                    (name, begins) = (Some((line, String::new())), false);
                }
                if let Some((_, name)) = &mut name {
                    name.push(next);
                }
                continue;
            }
        }
        all.extend(name.take());
        if quote.is_some() && depth == 0 && begins {
            return Err(format!("line {line}: there is a quote where a directive should be"));
        }
    }
    all.extend(name);
    if quote.is_some() || depth > 0 {
        return Err(format!("line {line}: a quote or a block is not closed"));
    }
    Ok(all)
}

/// The next word, with or without quotes around it.
fn word(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, line: &mut usize) -> Result<String, (usize, String)> {
    let mut out = String::new();
    let Some(quote) = rest.next_if(|one| matches!(one, '"' | '\'')) else {
        while let Some(&next) = rest.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' => break,
                // nginx takes braces for part of a word only in ${name}.
                '{' if !out.ends_with('$') => break,
                '\\' => return Err((*line, "there is a \\ outside of quotes".to_owned())),
                _ => {}
            }
            out.push(next);
            rest.next();
        }
        return Ok(out);
    };
    let begins = *line;
    while let Some(next) = rest.next() {
        match next {
            '\n' => {
                return Err((begins, "a text in quotes goes on to the next line".to_owned()));
            }
            '\\' => match rest.next() {
                Some(escaped @ ('"' | '\'' | '\\')) => out.push(escaped),
                _ => {
                    return Err((
                        begins,
                        "there is a \\ that escapes neither a quote nor itself".to_owned(),
                    ));
                }
            },
            next if next == quote => {
                let ends = rest.peek().is_none_or(|one| one.is_ascii_whitespace() || *one == ';');
                return if ends {
                    Ok(out)
                } else {
                    Err((*line, "there is text directly behind a quote".to_owned()))
                };
            }
            _ => out.push(next),
        }
    }
    Err((begins, "a quote is not closed".to_owned()))
}
