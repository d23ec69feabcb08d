//! The names in an expression: which it may have, and which it has.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators},
};

use crate::{
    E2eTable, StageRow, TransferRow,
    model::numbers::{Number, Table},
};

/// What a line has besides the numbers of its table.
const MEMBERS: [&str; 12] = [
    "type",
    "timestamp",
    "request_id",
    "sample_rate",
    "trace_id",
    "span_id",
    "fields",
    "warnings",
    "stages",
    "transfers",
    "age_ms",
    "failed",
];
/// Names by which other tools tell whether a request failed.
const OF_OUTCOMES: [&str; 6] = ["status", "state", "outcome", "result", "success", "ok"];
/// The functions of the language, apart from operators and macros. `matches` is not among them: it would
/// compile its regular expression for each line.
const FUNCTIONS: [&str; 12] = [
    "contains",
    "startsWith",
    "endsWith",
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "type",
    "dyn",
];
/// How alike two names are at least, from 0 to 1, if one may stand for the other.
const ALIKE: f64 = 0.8;
/// How many names are proposed.
const PROPOSED: usize = 3;

/// The names that an expression may have.
pub(in crate::cli) fn known() -> impl Iterator<Item = &'static str> {
    fn numbers<Row: Table>() -> impl Iterator<Item = &'static str> {
        Row::NUMBERS.iter().map(|Number { name, .. }| *name)
    }
    MEMBERS
        .into_iter()
        .chain(numbers::<E2eTable>())
        .chain(numbers::<StageRow>())
        .chain(numbers::<TransferRow>())
}

/// What an expression names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Why the expression can't be used: the first name that is not known.
    pub(super) unknown: Option<String>,
    /// `x` of `fields.x`.
    pub(super) fields: Vec<String>,
    pub(super) has_type: bool,
    /// Two names that are compared with each other, as they may be if a text lacks its quotes.
    pub(super) pair: Option<(String, String)>,
    /// The variables of the comprehensions that enclose the part that is read.
    scope: Vec<String>,
}

impl Names {
    /// Reads an expression. In it, `has(a.b)` becomes `a.b != null`, since an absent value is null.
    pub(super) fn read(&mut self, expression: &mut IdedExpr) {
        match &mut expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.variable(name),
            Expr::Call(call) => self.call(call),
            Expr::Select(select) => {
                if matches!(&select.operand.expr, Expr::Ident(name) if name == "fields") {
                    self.fields.push(select.field.clone());
                }
                self.read(&mut select.operand);
                if select.test {
                    expression.expr = is_there(select, expression.id);
                }
            }
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.read(element)),
            Expr::Map(map) => map.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr)),
            Expr::Struct(structure) => {
                structure.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr));
            }
            Expr::Comprehension(comprehension) => {
                self.read(&mut comprehension.iter_range);
                self.read(&mut comprehension.accu_init);
                let outer = self.scope.len();
                self.scope.push(comprehension.iter_var.clone());
                self.scope.extend(comprehension.iter_var2.clone());
                self.read(&mut comprehension.loop_cond);
                self.read(&mut comprehension.loop_step);
                self.scope.truncate(outer);
                self.read(&mut comprehension.result);
            }
        }
    }

    fn entry(&mut self, entry: &mut EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.read(&mut field.value),
            EntryExpr::MapEntry(entry) => {
                self.read(&mut entry.key);
                self.read(&mut entry.value);
            }
        }
    }

    fn variable(&mut self, name: &str) {
        self.has_type |= name == "type";
        // The parser's own variables begin with `@`.
        let is_bound = name.starts_with('@') || self.scope.iter().any(|bound| bound == name);
        if !is_bound && known().all(|known| known != name) {
            self.refuse("name", name, known());
        }
    }

    fn call(&mut self, call: &mut CallExpr) {
        let name = &call.func_name;
        // Operators are written with other characters.
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) && !FUNCTIONS.contains(&name.as_str()) {
            self.refuse("function", name, FUNCTIONS.into_iter());
        }
        if let (operators::INDEX, [of, at]) = (name.as_str(), call.args.as_slice())
            && let (Expr::Ident(of), Expr::Literal(LiteralValue::String(at))) = (&of.expr, &at.expr)
            && of == "fields"
        {
            self.fields.push(at.inner().to_owned());
        }
        if let (operators::EQUALS | operators::NOT_EQUALS, [one, other]) =
            (name.as_str(), call.args.as_slice())
            && let (Expr::Ident(one), Expr::Ident(other)) = (&one.expr, &other.expr)
        {
            self.pair.get_or_insert_with(|| (one.clone(), other.clone()));
        }
        call.target.iter_mut().for_each(|target| self.read(target));
        call.args.iter_mut().for_each(|argument| self.read(argument));
    }

    fn refuse(&mut self, what: &str, name: &str, known: impl Iterator<Item = &'static str>) {
        let near = near(name, known);
        let instead = match near.as_slice() {
            _ if what == "name" && OF_OUTCOMES.contains(&name) => {
                format!("; failed is true of a request that failed, and a field of it is fields.{name}")
            }
            [] if what == "function" => format!("; functions are {}", FUNCTIONS.join(", ")),
            [] => format!("; a field of the request is fields.NAME, and a text has quotes: \"{name}\""),
            near => format!("; did you mean {}?", near.join(" or ")),
        };
        self.unknown.get_or_insert_with(|| format!("there is no {what} {name}{instead}"));
    }
}

/// `a.b != null`, for `has(a.b)`.
fn is_there(select: &SelectExpr, id: u64) -> Expr {
    let select = SelectExpr { test: false, ..select.clone() };
    let expression = |expr| IdedExpr { id, expr };
    Expr::Call(CallExpr {
        func_name: operators::NOT_EQUALS.to_owned(),
        target: None,
        args: vec![expression(Expr::Select(select)), expression(Expr::Literal(LiteralValue::Null))],
    })
}

/// The names that are most like this one in either case, the most alike first.
pub(in crate::cli) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let mut near: Vec<_> = known
        .map(|known| (strsim::jaro_winkler(&name, &known.to_lowercase()), known))
        .filter(|(like, _)| *like >= ALIKE)
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.dedup();
    // The same name in another case needs no other proposal.
    let proposed = if near.first().is_some_and(|(like, _)| *like == 1.0) { 1 } else { PROPOSED };
    near.into_iter().take(proposed).map(|(_, name)| name).collect()
}
