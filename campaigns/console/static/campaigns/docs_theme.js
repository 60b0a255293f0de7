// Swagger UI has a dark form of its own: it follows the console's theme.
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const draw = () => root.classList.toggle("dark-mode", root.dataset.theme === "dark" || (root.dataset.theme === "system" && system.matches));
system.addEventListener("change", draw);
draw();
