//! The source as a tree of modules: the names that each defines or imports, and the paths that its code writes.
//!
//! It parses files with syn and touches no disk beyond reading them. Code in macros counts too, as far as it writes paths.
//! Invariant: a path is recorded with the module it stands in, and whether it is there for tests alone.

use std::collections::{HashMap, HashSet};

use syn::visit::{self, Visit};

/// A module, written in a file of its own or in place.
#[derive(Debug, Default)]
pub struct Module {
    /// The file it is written in, by its index.
    pub file: usize,
    /// Items it defines.
    pub items: HashSet<String>,
    /// Names it imports, and the paths they stand for.
    pub imported: HashMap<String, Vec<String>>,
    /// Paths of modules all names of which it imports.
    pub globs: Vec<Vec<String>>,
}

/// A path that code writes.
#[derive(Debug)]
pub struct Written {
    /// The module it stands in.
    pub module: Vec<String>,
    pub path: Vec<String>,
    /// The path is written in code for tests.
    pub in_tests: bool,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In a `use` line; a glob names the items of a module rather than the module.
    Use { glob: bool },
    /// In a `pub use` line, which hands a name on.
    HandOn,
    /// Anywhere else.
    Code,
}

/// A file, relative to `src`.
#[derive(Debug)]
pub struct File {
    pub path: String,
    pub module: Vec<String>,
    pub written: Vec<Written>,
    pub test_only: bool,
    /// The file writes `unsafe`.
    pub is_unsafe: bool,
    /// Names of the types that it writes `impl` for, without those for tests.
    pub implements: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Source {
    pub files: Vec<File>,
    pub modules: HashMap<Vec<String>, Module>,
}

impl Source {
    /// Parses files: their paths relative to `src`, and their texts.
    pub fn parse<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut source = Self::default();
        let mut for_tests = HashSet::new();
        for (path, text) in texts {
            let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let module = module_of(path);
            let file = source.files.len();
            let mut reader = Reader {
                file,
                modules: &mut source.modules,
                for_tests: &mut for_tests,
                at: module.clone(),
                tests: 0,
                written: Vec::new(),
                is_unsafe: false,
                implements: Vec::new(),
            };
            reader.enter();
            reader.visit_file(&syntax);
            let Reader { written, is_unsafe, implements, .. } = reader;
            let path = path.to_owned();
            source.files.push(File { path, module, written, test_only: false, is_unsafe, implements });
        }
        for file in &mut source.files {
            file.test_only = (1..=file.module.len()).any(|depth| for_tests.contains(&file.module[..depth]));
        }
        source
    }

    /// Returns a path from the crate's root, as it is written; `None` if it does not lead there.
    pub fn absolute(&self, from: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.to_vec(),
            "super" => from[..from.len().saturating_sub(1)].to_vec(),
            _ => return None,
        };
        while let Some((_, after)) = rest.split_first().filter(|(name, _)| *name == "super") {
            at.pop();
            rest = after;
        }
        at.extend_from_slice(rest);
        Some(at)
    }

    /// Returns the module that defines what a path names, and the name; without one, the path names the module itself.
    pub fn resolve(&self, from: &[String], path: &[String]) -> Option<(Vec<String>, Option<String>)> {
        self.resolve_within(from, path, 16)
    }

    fn resolve_within(&self, from: &[String], path: &[String], hops: usize) -> Option<(Vec<String>, Option<String>)> {
        let hops = hops.checked_sub(1)?;
        let is_relative = path.first().is_some_and(|first| !matches!(first.as_str(), "crate" | "self" | "super"));
        let (mut at, rest) =
            if is_relative { (from.to_vec(), path.to_vec()) } else { (Vec::new(), self.absolute(from, path)?) };
        for (depth, name) in rest.iter().enumerate() {
            match self.step(&at, name, hops) {
                Some((module, None)) => at = module,
                Some(found) => return Some(found),
                // A name that nothing here explains is one of the module's own, or of another crate.
                None if is_relative && depth == 0 => return None,
                None => return Some((at, Some(name.clone()))),
            }
        }
        Some((at, None))
    }

    /// Returns what a name means in a module, if it does not define it itself.
    fn step(&self, at: &[String], name: &str, hops: usize) -> Option<(Vec<String>, Option<String>)> {
        let child: Vec<String> = at.iter().cloned().chain([name.to_owned()]).collect();
        if self.modules.contains_key(&child) {
            return Some((child, None));
        }
        let module = self.modules.get(at)?;
        if module.items.contains(name) {
            return None;
        }
        if let Some(path) = module.imported.get(name) {
            return self.resolve_within(at, path, hops);
        }
        let hops = hops.checked_sub(1)?;
        module.globs.iter().find_map(|glob| {
            let (target, _) = self.resolve_within(at, glob, hops)?;
            let is_own = self.modules.get(&target)?.items.contains(name);
            if is_own { Some((target, Some(name.to_owned()))) } else { self.step(&target, name, hops) }
        })
    }
}

/// Returns the modules from the crate's root to a file.
pub fn module_of(path: &str) -> Vec<String> {
    let mut names: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(names.last().map(String::as_str), Some("mod")) || names == ["lib"] || names == ["main"] {
        names.pop();
    }
    names
}

struct Reader<'a> {
    file: usize,
    modules: &'a mut HashMap<Vec<String>, Module>,
    for_tests: &'a mut HashSet<Vec<String>>,
    at: Vec<String>,
    /// How many of the things it is inside of are there for tests alone.
    tests: usize,
    written: Vec<Written>,
    is_unsafe: bool,
    implements: Vec<String>,
}

impl Reader<'_> {
    fn enter(&mut self) -> &mut Module {
        let file = self.file;
        self.modules.entry(self.at.clone()).or_insert_with(|| Module { file, ..Module::default() })
    }

    fn write(&mut self, path: Vec<String>, kind: Kind) {
        self.written.push(Written { module: self.at.clone(), path, in_tests: self.tests > 0, kind });
    }

    fn import(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>, handed_on: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix, handed_on);
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix.clone(), handed_on));
            }
            syn::UseTree::Glob(_) => {
                self.enter().globs.push(prefix.clone());
                self.write(prefix, if handed_on { Kind::HandOn } else { Kind::Use { glob: true } });
            }
            syn::UseTree::Name(_) | syn::UseTree::Rename(_) => {
                let (name, bound) = match tree {
                    syn::UseTree::Rename(rename) => (&rename.ident, &rename.rename),
                    syn::UseTree::Name(name) => (&name.ident, &name.ident),
                    _ => return,
                };
                let mut bound = bound.to_string();
                if name == "self" {
                    bound = if bound == "self" { prefix.last().cloned().unwrap_or_default() } else { bound };
                } else {
                    prefix.push(name.to_string());
                }
                self.enter().imported.insert(bound, prefix.clone());
                self.write(prefix, if handed_on { Kind::HandOn } else { Kind::Use { glob: false } });
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (name, attributes) = name_of(item);
        let for_tests = attributes.iter().any(is_cfg_test);
        if let Some(name) = name {
            self.enter().items.insert(name);
        }
        if let (syn::Item::Mod(module), true) = (item, for_tests) {
            let path = self.at.iter().cloned().chain([module.ident.to_string()]).collect();
            self.for_tests.insert(path);
        }
        self.tests += usize::from(for_tests);
        visit::visit_item(self, item);
        self.tests -= usize::from(for_tests);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_some() {
            self.at.push(module.ident.to_string());
            self.enter();
            visit::visit_item_mod(self, module);
            self.at.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let handed_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, Vec::new(), handed_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.write(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), Kind::Code);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut paths = Vec::new();
        let tokens = without_strings(&call.tokens.to_string());
        paths_in(&tokens, &mut paths);
        self.is_unsafe |= tokens.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        paths.into_iter().for_each(|path| self.write(path, Kind::Code));
        visit::visit_macro(self, call);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.is_unsafe = true;
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.is_unsafe |= signature.unsafety.is_some();
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.is_unsafe |= item.unsafety.is_some();
        if let (syn::Type::Path(named), 0, None) = (&*item.self_ty, self.tests, &item.trait_) {
            self.implements.extend(named.path.segments.last().map(|segment| segment.ident.to_string()));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.is_unsafe |= item.unsafety.is_some();
        visit::visit_item_trait(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        self.is_unsafe |= item.unsafety.is_some();
        visit::visit_item_foreign_mod(self, item);
    }

    // `pub(crate)` and attributes name nothing that is used.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

fn name_of(item: &syn::Item) -> (Option<String>, &[syn::Attribute]) {
    match item {
        syn::Item::Const(item) => (Some(item.ident.to_string()), &item.attrs),
        syn::Item::Enum(item) => (Some(item.ident.to_string()), &item.attrs),
        syn::Item::Fn(item) => (Some(item.sig.ident.to_string()), &item.attrs),
        syn::Item::Macro(item) => (item.ident.as_ref().map(ToString::to_string), &item.attrs),
        syn::Item::Static(item) => (Some(item.ident.to_string()), &item.attrs),
        syn::Item::Struct(item) => (Some(item.ident.to_string()), &item.attrs),
        syn::Item::Trait(item) => (Some(item.ident.to_string()), &item.attrs),
        syn::Item::Type(item) => (Some(item.ident.to_string()), &item.attrs),
        syn::Item::Union(item) => (Some(item.ident.to_string()), &item.attrs),
        syn::Item::Impl(item) => (None, &item.attrs),
        syn::Item::Mod(item) => (None, &item.attrs),
        syn::Item::Use(item) => (None, &item.attrs),
        _ => (None, &[]),
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg")
        && list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
}

/// Blanks out string literals, among them doc comments.
fn without_strings(tokens: &str) -> String {
    let (mut within, mut escaped) = (false, false);
    let keep = |c: char| {
        let is_quote = c == '"' && !escaped;
        escaped = within && c == '\\' && !escaped;
        within ^= is_quote;
        if within || is_quote { ' ' } else { c }
    };
    tokens.chars().map(keep).collect()
}

/// Finds the paths in tokens as they are printed: names with `::` between them.
fn paths_in(tokens: &str, paths: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut joined = false;
    for token in tokens.split_whitespace().flat_map(split_token) {
        let is_name = token.starts_with(|c: char| c.is_alphabetic() || c == '_');
        match token {
            "::" => joined = true,
            _ if is_name && joined => (path.push(token.to_owned()), joined = false).1,
            _ => {
                paths.extend((path.len() > 1).then(|| std::mem::take(&mut path)));
                path.clear();
                joined = false;
                path.extend(is_name.then(|| token.to_owned()));
            }
        }
    }
    paths.extend((path.len() > 1).then_some(path));
}

/// Splits what stands between two spaces into names, `::` and single marks.
fn split_token(mut text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    while let Some(first) = text.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
        } else if text.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&text[..length]);
        text = &text[length..];
    }
    tokens
}
