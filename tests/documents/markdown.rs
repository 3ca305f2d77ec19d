//! A Markdown document: its prose, its links, its anchors and its blocks of code.
//!
//! Knows the part of Markdown that these documents use. Never renders anything. Invariant: a line is either inside a
//! fenced block of code or outside, and its number counts from 1.

/// A document.
#[derive(Debug)]
pub struct Markdown<'a> {
    lines: Vec<Line<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Line<'a> {
    Text(&'a str),
    /// The line that opens a block of code, with its language.
    Opening(&'a str),
    Code(&'a str),
    Closing,
}

impl<'a> Markdown<'a> {
    /// Parses a document.
    pub fn parse(text: &'a str) -> Self {
        let mut is_code = false;
        let line = |line: &'a str| {
            let fence = line.trim_start().strip_prefix("```");
            let parsed = match (fence, is_code) {
                (Some(language), false) => Line::Opening(language),
                (Some(_), true) => Line::Closing,
                (None, true) => Line::Code(line),
                (None, false) => Line::Text(line),
            };
            is_code ^= fence.is_some();
            parsed
        };
        Self { lines: text.lines().map(line).collect() }
    }

    /// Returns the blocks of code in a language.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut block = None;
        for line in &self.lines {
            match line {
                Line::Opening(opened) if *opened == language => block = Some(String::new()),
                Line::Code(code) => block.iter_mut().for_each(|block: &mut String| {
                    block.push_str(code);
                    block.push('\n');
                }),
                Line::Closing => blocks.extend(block.take()),
                Line::Opening(_) | Line::Text(_) => {}
            }
        }
        blocks
    }

    /// Returns the prose with the numbers of its lines; each cell of a table stands alone, and `None` where prose ends.
    pub fn prose(&self) -> Vec<(usize, Option<&'a str>)> {
        let mut prose = Vec::new();
        for (number, line) in self.numbered() {
            match line {
                Line::Text(text) if text.starts_with('|') => {
                    prose.extend(text.split('|').flat_map(|cell| [(number, Some(cell)), (number, None)]));
                }
                Line::Text(text) if !text.starts_with('#') => prose.push((number, Some(text))),
                _ => prose.push((number, None)),
            }
        }
        prose
    }

    /// Returns the numbers of lines of prose with more than so many columns; a table or a block of code may be wider.
    pub fn long_lines(&self, columns_max: usize) -> Vec<usize> {
        let is_long =
            |line| matches!(line, Line::Text(text) if text.chars().count() > columns_max && !is_one_piece(text));
        self.numbered().filter(|(_, line)| is_long(*line)).map(|(number, _)| number).collect()
    }

    /// Returns the targets of all links and pictures, with the numbers of their lines.
    pub fn links(&self) -> Vec<(usize, &'a str)> {
        let mut links = Vec::new();
        for (number, line) in self.numbered() {
            let Line::Text(text) = line else { continue };
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            links.extend(targets.map(|target| (number, target)));
        }
        links
    }

    /// Returns whether a heading has this anchor.
    pub fn has_anchor(&self, anchor: &str) -> bool {
        self.headings().any(|heading| slug(heading) == anchor)
    }

    /// Returns the headings without their marks.
    pub fn headings(&self) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(|line| match line {
            Line::Text(text) if text.starts_with('#') => Some(text.trim_start_matches('#').trim()),
            _ => None,
        })
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, Line<'a>)> {
        self.lines.iter().enumerate().map(|(at, line)| (at + 1, *line))
    }
}

/// Returns whether a line cannot be wrapped: a row of a table, a heading, a picture.
fn is_one_piece(line: &str) -> bool {
    line.starts_with(['|', '#', '!'])
}

/// Returns the anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
