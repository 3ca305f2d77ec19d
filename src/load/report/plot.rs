//! Line charts as SVG.

use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 280);

/// Lines over a common axis.
pub(super) struct Plot<'p> {
    pub title: &'p str,
    pub x: &'p str,
    pub y: &'p str,
    /// A name for each, and its points from left to right.
    pub lines: &'p [(&'p str, Vec<(f64, f64)>)],
    /// How a place on the horizontal axis is written.
    pub x_label: fn(f64) -> String,
}

/// Why there is no plot: always the fault of this program.
#[derive(Debug, thiserror::Error)]
#[error("A plot could not be drawn: {0}.")]
pub struct PlotError(String);

impl Plot<'_> {
    /// Draws it; `None` if there is nothing to draw.
    pub fn svg(&self) -> Result<Option<String>, PlotError> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
        let (right, top) = (most(|point| point.0), most(|point| point.1));
        if right <= 0.0 || top <= 0.0 {
            return Ok(None);
        }
        let mut svg = String::new();
        self.draw(&mut svg, right, top * 1.08).map_err(|error| PlotError(error.to_string()))?;
        Ok(Some(svg))
    }

    fn draw(&self, svg: &mut String, right: f64, top: f64) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| (self.x_label)(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        for (number, (name, points)) in self.lines.iter().enumerate() {
            let colour = [BLUE, RED, GREEN, MAGENTA][number % 4].stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .draw()?;
        }
        area.present()?;
        Ok(())
    }
}

/// A number in few characters.
pub(super) fn short(number: f64) -> String {
    match number {
        _ if number >= 1e9 => format!("{:.1}G", number / 1e9),
        _ if number >= 1e6 => format!("{:.1}M", number / 1e6),
        _ if number >= 1e4 => format!("{:.0}k", number / 1e3),
        _ if number >= 10.0 || number == 0.0 => format!("{number:.0}"),
        _ => format!("{number:.2}"),
    }
}
