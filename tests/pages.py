"""The page to explore, opened in a browser: what is lit there, and how it is pointed at."""

import re

# What is lit: of the matrix the cells, of the sheets the places; which are pointed at; where the
# bands and cursor are.
LIT = """() => {
  const group = (svg) => document.querySelector(svg === "matrix" ? "#cells" : `#${svg} > g`);
  const all = (svg) => [...group(svg).children];
  const where = (svg, kind) =>
    all(svg).flatMap((path, n) => path.classList.contains(kind) ? [n] : []);
  const corner = (path) => path.getAttribute("d").match(/M(\\d+) (\\d+)/).slice(1);
  const cell = (path) => corner(path).map((n) => n / 20).reverse();
  const side = (id, name) => document.getElementById(id).getAttribute(name) / 20;
  const box = (id) => ["x", "y", "width", "height"].map((name) => side(id, name));
  const named = [...document.querySelectorAll("#letters .on")].map((text) => text.textContent);
  return {
    matrix: where("matrix", "on").map((n) => cell(all("matrix")[n])), letters: named,
    input: where("input", "on"), kernel: where("kernel", "on"), output: where("output", "on"),
    here: Object.fromEntries(["input", "kernel", "output"].map((svg) => [svg, where(svg, "here")])),
    across: box("across"), down: box("down"), cursor: box("cursor"),
    said: [...document.querySelectorAll("#said p")].map((p) => p.textContent),
    equations: [...document.querySelectorAll("#said code")].map((code) => code.textContent),
  };
}"""


class Explored:
    """A page in the browser, and everything it complained about or asked for."""

    def __init__(self, page, url):
        self.page = page
        self.url = url
        self.complaints = []
        self.requests = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)

    def lit(self):
        return self.page.evaluate(LIT)

    def point(self, name, x, y):
        """Point at the middle of a unit square of a drawing."""
        at = self.page.evaluate(
            """([name, x, y]) => {
              const svg = document.getElementById(name);
              const middle = new DOMPoint(20 * x + 10, 20 * y + 10);
              const point = middle.matrixTransform(svg.getScreenCTM());
              return [point.x, point.y];
            }""",
            [name, x, y],
        )
        self.page.mouse.move(*at)

    def point_at(self, name, n):
        """Point at a pixel or a weight by its number."""
        d = self.page.locator(f"#{name} > g").first.locator("path").nth(n).get_attribute("d")
        x, y = (int(v) // 20 for v in re.match(r"M(\d+) (\d+)", d).groups())
        self.point(name, x, y)

    def key(self, name, *keys):
        self.page.locator(f"#{name}").focus()
        for key in keys:
            self.page.keyboard.press(key)

    def mode(self, mode):
        self.page.locator(f"#modes input[value={mode}]").check()
