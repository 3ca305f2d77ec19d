//! Line charts as HTML figures with inline SVG. Colours, fonts and dark mode are left to the page's style.
//!
//! Own code, because it is little: libraries that draw SVG round to whole pixels and emit no classes, so that a page
//! can neither set the colours of their lines nor show the value of a point. Runs no script.

use std::fmt::Write;

use super::axis::Axis;
use super::markup::escaped;

/// The size of the drawing, in units of its own; it is scaled to the available room.
const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 300.0;

/// Margins for labels: left of the vertical axis, above, right and below.
const LEFT: f64 = 66.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 44.0;

/// The least width of a label on the horizontal axis.
const LABEL_WIDTH: f64 = 38.0;

/// A line with more points has no tooltips: they would cover each other, and make the page large.
const POINTS_SHOWN_MAX: usize = 400;

/// A line with at most this many points shows each as a dot.
const DOTS_MAX: usize = 30;

/// Lines over common axes.
pub(super) struct Plot<'p> {
    pub title: &'p str,
    pub x: Axis,
    pub y: Axis,
    /// The name of each line, and its points from left to right.
    pub lines: Vec<(&'static str, Vec<(f64, f64)>)>,
    /// A position on the horizontal axis, and its label.
    pub mark: Option<(f64, String)>,
}

/// The axes and ranges of a drawing.
struct Frame<'p> {
    x: &'p Axis,
    y: &'p Axis,
    x_range: (f64, f64),
    y_range: (f64, f64),
}

impl Frame<'_> {
    fn x(&self, value: f64) -> f64 {
        let (low, high) = (self.x.scale.place(self.x_range.0), self.x.scale.place(self.x_range.1));
        LEFT + (self.x.scale.place(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let value = value.max(self.y_range.0);
        let (low, high) = (self.y.scale.place(self.y_range.0), self.y.scale.place(self.y_range.1));
        HEIGHT - BOTTOM - (self.y.scale.place(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    }
}

impl Plot<'_> {
    /// Draws the plot; draws nothing if there are no values.
    pub fn draw(&self, page: &mut String) {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let x_range = self.x.scale.range(points().map(|point| point.0));
        let y_range = self.y.scale.range(points().map(|point| point.1));
        let (Some(x_range), Some(y_range)) = (x_range, y_range) else { return };
        let frame = Frame { x: &self.x, y: &self.y, x_range: self.fitted(x_range), y_range };
        // Writing to a string cannot fail.
        let _ = self.write(page, &frame);
    }

    /// Ends a linear axis at the last point.
    fn fitted(&self, (low, high): (f64, f64)) -> (f64, f64) {
        let last = self.lines.iter().filter_map(|(_, points)| points.last()).fold(0.0, |last, point| point.0.max(last));
        if self.x.scale == super::axis::Scale::Linear { (low, last) } else { (low, high) }
    }

    fn write(&self, page: &mut String, frame: &Frame<'_>) -> std::fmt::Result {
        write!(page, "<figure>\n<figcaption><h3>{}</h3>", escaped(self.title))?;
        if self.lines.len() > 1 {
            page.push_str("<ul class=\"legend\">");
            for (number, (name, _)) in self.lines.iter().enumerate() {
                write!(page, "<li class=\"line-{number}\">{name}</li>")?;
            }
            page.push_str("</ul>");
        }
        let title = escaped(self.title);
        writeln!(
            page,
            "</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\" \
             xmlns=\"http://www.w3.org/2000/svg\">"
        )?;
        self.write_axes(page, frame)?;
        for (number, (name, points)) in self.lines.iter().enumerate() {
            self.write_line(page, frame, number, name, points)?;
        }
        self.write_mark(page, frame)?;
        page.push_str("</svg>\n</figure>\n");
        Ok(())
    }

    fn write_axes(&self, page: &mut String, frame: &Frame<'_>) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.y.ticks(frame.y_range.0, frame.y_range.1) {
            let y = frame.y(tick);
            let label = (self.y.written)(tick);
            writeln!(page, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>")?;
            writeln!(page, "<text class=\"tick\" x=\"{}\" y=\"{:.1}\">{label}</text>", LEFT - 8.0, y + 4.0)?;
        }
        writeln!(page, "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>")?;
        let mut free = f64::NEG_INFINITY;
        for tick in self.x.ticks(frame.x_range.0, frame.x_range.1) {
            let x = frame.x(tick);
            if x < free {
                continue;
            }
            free = x + LABEL_WIDTH;
            let label = (self.x.written)(tick);
            writeln!(page, "<path class=\"axis\" d=\"M{x:.1} {bottom}v5\"/>")?;
            writeln!(page, "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>", bottom + 19.0)?;
        }
        let middle = (LEFT + right) / 2.0;
        writeln!(page, "<text class=\"title middle\" x=\"{middle}\" y=\"{}\">{}</text>", HEIGHT - 6.0, self.x.title)
    }

    fn write_line(
        &self,
        page: &mut String,
        frame: &Frame<'_>,
        number: usize,
        name: &str,
        points: &[(f64, f64)],
    ) -> std::fmt::Result {
        write!(page, "<polyline class=\"line line-{number}\" points=\"")?;
        for (x, y) in points {
            write!(page, "{:.1},{:.1} ", frame.x(*x), frame.y(*y))?;
        }
        page.push_str("\"/>\n");
        if points.len() > POINTS_SHOWN_MAX {
            return Ok(());
        }
        let kind = if points.len() <= DOTS_MAX { "dot" } else { "hover" };
        for (x, y) in points {
            let shown = format!("{name}: {} at {} {}", (self.y.written)(*y), (self.x.written)(*x), self.x.title);
            writeln!(
                page,
                "<circle class=\"{kind} line-{number}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\">\
                 <title>{shown}</title></circle>",
                frame.x(*x),
                frame.y(*y)
            )?;
        }
        Ok(())
    }

    fn write_mark(&self, page: &mut String, frame: &Frame<'_>) -> std::fmt::Result {
        let Some((place, what)) = &self.mark else { return Ok(()) };
        let x = frame.x(*place);
        writeln!(page, "<path class=\"mark\" d=\"M{x:.1} {TOP}V{}\"/>", HEIGHT - BOTTOM)?;
        // On the side with more room.
        let (anchor, offset) = if x > WIDTH / 2.0 { ("end", -6.0) } else { ("start", 6.0) };
        writeln!(
            page,
            "<text class=\"mark-text\" text-anchor=\"{anchor}\" x=\"{:.1}\" y=\"{}\">{}</text>",
            x + offset,
            TOP + 10.0,
            escaped(what)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::axis::Scale;
    use super::super::number::short;
    use super::*;

    fn drawn(points: Vec<(f64, f64)>) -> String {
        let axis = || Axis::new(Scale::Linear, "seconds", short);
        let mut page = String::new();
        let mark = Some((1.0, "<here>".to_owned()));
        Plot { title: "Rate & more", x: axis(), y: axis(), lines: vec![("rate", points)], mark }.draw(&mut page);
        page
    }

    #[test]
    fn points_stand_where_their_values_are() {
        let page = drawn(vec![(0.0, 0.0), (1.0, 50.0), (2.0, 100.0)]);
        let bottom = HEIGHT - BOTTOM;
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        assert!(page.contains(&format!("points=\"{LEFT:.1},{bottom:.1} {middle:.1},")), "{page}");
        assert!(page.contains("<title>rate: 50 at 1 seconds</title>"));
        assert!(page.contains("Rate &amp; more") && page.contains("&lt;here&gt;"));
    }

    #[test]
    fn where_there_is_nothing_to_show_there_is_no_plot() {
        assert_eq!(drawn(vec![]), "");
        assert_eq!(drawn(vec![(0.0, 0.0), (1.0, 0.0)]), "");
    }

    #[test]
    fn many_points_are_a_line_alone() {
        let many = (0..=POINTS_SHOWN_MAX).map(|number| (number as f64, 1.0)).collect();
        let page = drawn(many);
        assert!(page.contains("<polyline") && !page.contains("<circle"));
    }
}
