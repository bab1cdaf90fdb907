"use strict";
// Everything can be read without this: it adds choosing, sorting and filtering.
(function () {
  var MOST = 12;
  var rows = {};
  document.querySelectorAll("tr[data-above]").forEach(function (row) {
    rows[row.id] = {
      row: row,
      name: row.dataset.name,
      above: row.dataset.above ? row.dataset.above.split(" ") : [],
      requested: row.dataset.requested === "1",
      facts: [row.cells[1].textContent, row.cells[2].textContent],
    };
  });

  // From each distribution that was asked for, a shortest chain down to this one; the shortest first.
  function chains(key) {
    var next = {}, frontier = [key], found = [];
    next[key] = null;
    while (frontier.length) {
      var reached = [];
      frontier.forEach(function (child) {
        if (rows[child].requested) {
          var chain = [];
          for (var at = child; at !== null; at = next[at]) chain.push(at);
          found.push(chain);
        }
        rows[child].above.forEach(function (parent) {
          if (rows[parent] && !(parent in next)) {
            next[parent] = child;
            reached.push(parent);
          }
        });
      });
      frontier = reached;
    }
    return found;
  }

  function element(name, text, style) {
    var made = document.createElement(name);
    if (text) made.textContent = text;
    if (style) made.className = style;
    return made;
  }

  function explain(panel, key, found) {
    var one = rows[key], first = element("p"), list = element("ol");
    first.append(element("strong", one.name + " " + one.facts[0]), " · " + one.facts[1] +
      (one.requested ? " · asked for" : "") + " · ");
    var link = element("a", "its row in the table");
    link.href = "#" + key;
    first.append(link);
    found.filter(function (chain) { return chain.length > 1; }).slice(0, MOST).forEach(function (chain) {
      var item = element("li");
      chain.forEach(function (each, place) {
        if (place) item.append(" ", element("span", "→", "arrow"), " ");
        item.append(element(each === key ? "strong" : "span", rows[each].name));
      });
      list.append(item);
    });
    if (found.length > MOST + 1) list.append(element("li", "and " + (found.length - MOST) + " more"));
    if (!found.length) list.append(element("li", "Nothing that was asked for leads to it: what is left to the image requires it."));
    panel.replaceChildren(first, list);
    panel.hidden = false;
  }

  function mark(key, found) {
    var on = {}, lines = {};
    on[key] = true;
    found.slice(0, MOST).forEach(function (chain) {
      chain.forEach(function (each, place) {
        on[each] = true;
        if (place) lines[chain[place - 1] + " " + each] = true;
      });
    });
    document.querySelectorAll(".graph").forEach(function (graph) {
      graph.classList.add("chosen");
      graph.querySelectorAll(".node").forEach(function (node) {
        node.classList.toggle("on", !!on[node.getAttribute("href").slice(1)]);
      });
      graph.querySelectorAll(".lines path").forEach(function (line) {
        line.classList.toggle("on", !!lines[line.dataset.from + " " + line.dataset.to]);
      });
    });
    document.querySelectorAll(".map a").forEach(function (tile) {
      tile.classList.toggle("picked", tile.getAttribute("href") === "#" + key);
    });
    document.querySelectorAll("tr.picked").forEach(function (row) { row.classList.remove("picked"); });
    rows[key].row.classList.add("picked");
  }

  var select = document.querySelector("[data-choose]");
  var panels = document.querySelectorAll("[data-why]");
  // Into the middle of its window, without a move of the page.
  function reveal(key) {
    document.querySelectorAll(".scroll").forEach(function (port) {
      var node = port.querySelector('a[href="#' + key + '"]');
      if (!node || port.scrollHeight <= port.clientHeight) return;
      var at = node.getBoundingClientRect(), frame = port.getBoundingClientRect();
      port.scrollTop += (at.top + at.bottom - frame.top - frame.bottom) / 2;
    });
  }

  function choose(key) {
    var found = chains(key);
    mark(key, found);
    panels.forEach(function (panel) { explain(panel, key, found); });
    if (select) select.value = key;
    reveal(key);
  }

  if (panels.length) {
    document.querySelectorAll(".for-script").forEach(function (one) { one.hidden = false; });
    if (select) {
      Object.keys(rows).forEach(function (key) {
        var option = element("option", rows[key].name);
        option.value = key;
        select.append(option);
      });
      select.addEventListener("change", function () { if (select.value) choose(select.value); });
    }
    document.addEventListener("click", function (event) {
      var link = event.target.closest(".map a, .graph a");
      var key = link ? link.getAttribute("href").slice(1) : "";
      if (!rows[key]) return;
      event.preventDefault();
      choose(key);
    });
  }

  // A picture is one stop of the Tab key; arrow keys go on inside of it.
  document.querySelectorAll(".map, .graph").forEach(function (picture) {
    var links = Array.from(picture.querySelectorAll("a"));
    links.forEach(function (link, place) { link.setAttribute("tabindex", place ? "-1" : "0"); });
    picture.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      var at = links.indexOf(document.activeElement);
      if (!step || at < 0 || !links[at + step]) return;
      event.preventDefault();
      links[at].setAttribute("tabindex", "-1");
      links[at + step].setAttribute("tabindex", "0");
      links[at + step].focus();
    });
  });

  function value(row, column) {
    var cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  }

  function sort(table, column) {
    var head = table.tHead.rows[0].cells[column], body = table.tBodies[0];
    var figures = head.classList.contains("figure");
    var before = head.getAttribute("aria-sort");
    var descending = before ? before === "ascending" : figures;
    Array.from(head.parentNode.cells).forEach(function (one) { one.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    Array.from(body.rows).sort(function (left, right) {
      var a = value(left, column), b = value(right, column);
      var order = typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en");
      return descending ? -order : order;
    }).forEach(function (row) { body.append(row); });
  }

  document.querySelectorAll("table[data-sort]").forEach(function (table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
      // No <button>: Chromium leaves it out where a head is printed again on the next sheet.
      var button = element("span", head.textContent, "sorter");
      button.setAttribute("role", "button");
      button.setAttribute("tabindex", "0");
      button.addEventListener("click", function () { sort(table, column); });
      button.addEventListener("keydown", function (event) {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort(table, column);
      });
      head.replaceChildren(button);
    });
    if (table.tBodies[0].rows.length < 8) return;
    var line = element("p", "", "filter"), label = element("label", "Filter " + table.dataset.filter + " ");
    var field = element("input");
    field.type = "search";
    field.addEventListener("input", function () {
      var wanted = field.value.trim().toLowerCase();
      Array.from(table.tBodies[0].rows).forEach(function (row) {
        row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      });
    });
    label.append(field);
    line.append(label);
    table.before(line);
  });

  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (one) { one.open = true; });
  });
})();
