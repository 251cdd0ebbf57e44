// A confusion matrix as a table: every cell answers to click, Enter and Space, arrow keys walk.
// All text goes in as text, so a class name can be anything.

const percent = (share) => (share === 0 ? '0' : share < 0.005 ? '<1' : (100 * share).toFixed(share < 0.1 ? 1 : 0));
const whole = (n) => n.toLocaleString('en-US');

function short(n) {
  if (n >= 1e7) return (n / 1e6).toFixed(0) + 'M';
  if (n >= 1e6) return (n / 1e6).toFixed(1) + 'M';
  if (n >= 1e4) return (n / 1e3).toFixed(0) + 'k';
  if (n >= 1e3) return (n / 1e3).toFixed(1) + 'k';
  return String(n);
}

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== '') node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function head(name, color, scope) {
  const cell = make('th', '', { scope });
  const inner = make('span', '', { class: 'gt-matrix-name', title: name });
  const chip = make('span', '', { class: 'gt-chip', 'aria-hidden': 'true' });
  chip.style.background = `rgb(${color.join(',')})`;
  inner.append(chip, make('span', name));
  cell.append(inner);
  return cell;
}

function draw(model, root) {
  const names = model.get('names'), colors = model.get('colors'), counts = model.get('counts');
  const mode = model.get('normalize'), chosen = model.get('cell');
  const k = names.length;
  const rows = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const columns = names.map((_, j) => counts.reduce((a, row) => a + row[j], 0));
  const total = rows.reduce((a, b) => a + b, 0);
  const most = Math.max(1, ...counts.flat());
  const table = make('table', '', { class: 'gt-matrix', role: 'grid', 'aria-label': 'Confusion matrix: a row is a class of the reference, a column a class of the map' });
  const top = make('tr', '');
  top.append(make('th', 'reference ↓  map →', { scope: 'col', class: 'gt-matrix-corner' }));
  names.forEach((name, j) => top.append(head(name, colors[j], 'col')));
  top.append(make('th', 'recall', { scope: 'col', class: 'gt-matrix-margin', title: "producer's accuracy: the share of the class that the map found" }));
  const thead = make('thead', '');
  thead.append(top);
  const body = make('tbody', '');
  counts.forEach((row, i) => {
    const line = make('tr', '');
    line.append(head(names[i], colors[i], 'row'));
    row.forEach((n, j) => {
      const below = mode === 'truth' ? rows[i] : mode === 'predicted' ? columns[j] : most;
      const share = below > 0 ? n / below : 0;
      const text = n === 0 ? '·' : mode === 'none' ? short(n) : percent(share);
      const ofRow = rows[i] > 0 ? ` ${percent(n / rows[i])} % of the reference's ${names[i]}` : '';
      const label = `truly ${names[i]}, mapped as ${names[j]}: ${whole(n)} pixels${ofRow}`;
      const picked = chosen && chosen.length === 2 && chosen[0] === i && chosen[1] === j;
      const first = chosen && chosen.length === 2 ? picked : i === 0 && j === 0;
      const cell = make('td', text, {
        role: 'gridcell', tabindex: first ? '0' : '-1', 'aria-label': label, title: label,
        'aria-selected': String(Boolean(picked)), 'data-row': i, 'data-column': j, 'data-lm-suppress-shortcuts': 'true',
      });
      cell.className = (i === j ? 'gt-right' : 'gt-wrong') + (n === 0 ? ' gt-empty' : '');
      cell.style.setProperty('--share', String(Math.round(100 * Math.sqrt(share))));
      if (share > 0.77) cell.classList.add('gt-strong');
      line.append(cell);
    });
    line.append(make('td', rows[i] ? percent(row[i] / rows[i]) + ' %' : 'n/a', { class: 'gt-matrix-margin' }));
    body.append(line);
  });
  const foot = make('tr', '');
  foot.append(make('th', 'precision', { scope: 'row', title: "user's accuracy: the share of the mapped class that truly is it" }));
  columns.forEach((n, j) => foot.append(make('td', n ? percent(counts[j][j] / n) + ' %' : 'n/a', { class: 'gt-matrix-margin' })));
  const right = counts.reduce((a, row, i) => a + row[i], 0);
  foot.append(make('td', total ? percent(right / total) + ' %' : 'n/a', { class: 'gt-matrix-margin gt-matrix-total', title: 'overall accuracy' }));
  body.append(foot);
  table.append(thead, body);
  const held = root.contains(document.activeElement) && document.activeElement.dataset ? { ...document.activeElement.dataset } : null;
  root.replaceChildren(table);
  if (held && held.row !== undefined) {
    const back = root.querySelector(`td[data-row="${held.row}"][data-column="${held.column}"]`);
    if (back) focusOn(root, back);
  }
}

function focusOn(root, cell) {
  root.querySelectorAll('td[tabindex="0"]').forEach((c) => c.setAttribute('tabindex', '-1'));
  cell.setAttribute('tabindex', '0');
  cell.focus();
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function render({ model, el }) {
  el.classList.add('gt', 'gt-matrix-root');
  const choose = (cell) => {
    const at = [Number(cell.dataset.row), Number(cell.dataset.column)];
    const now = model.get('cell');
    const same = now && now.length === 2 && now[0] === at[0] && now[1] === at[1];
    model.set('cell', same ? [] : at);
    model.save_changes();
  };
  const cellOf = (event) => event.target.closest('td[data-row]');
  el.addEventListener('click', (event) => {
    const cell = cellOf(event);
    if (cell) choose(cell);
  });
  el.addEventListener('keydown', (event) => {
    const cell = cellOf(event);
    if (!cell) return;
    if (event.key === 'Enter' || event.key === ' ') choose(cell);
    else if (STEPS[event.key]) {
      const [down, across] = STEPS[event.key];
      const next = el.querySelector(`td[data-row="${Number(cell.dataset.row) + down}"][data-column="${Number(cell.dataset.column) + across}"]`);
      if (next) focusOn(el, next);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const again = () => draw(model, el);
  const watched = ['names', 'colors', 'counts', 'normalize', 'cell'].map((n) => 'change:' + n);
  watched.forEach((n) => model.on(n, again));
  again();
  return () => watched.forEach((n) => model.off(n, again));
}

export default { render };
