// The admin takes its theme from the server, which has it from the console's switch; what it kept itself stands behind.
localStorage.setItem("adminTheme", JSON.stringify(document.documentElement.className || "auto"));

// What Unfold leaves unnamed: the main part of its pages, and which of them scrolls.
document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("main")?.setAttribute("role", "main");
  document.getElementById("nav-sidebar-apps")?.setAttribute("data-simplebar-aria-label", "menu");
});

// Alpine writes styles as an attribute, which the policy refuses as it does those in markup; the same by a property is let in.
const { setAttribute } = Element.prototype;
Element.prototype.setAttribute = function (name, value) {
  if (name === "style" && this.style) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};
