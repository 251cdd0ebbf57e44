// A grid of pictures cut from one sheet; a listbox for keyboard and screen reader. Uses dom.js.

class GalleryView {
  constructor(model, el) {
    Object.assign(this, { model });
    this.below = new Picture();
    this.above = new Picture();
    this.root = make('div', { className: 'gt gt-gallery', role: 'listbox' });
    this.root.addEventListener('keydown', (event) => this.key(event));
    el.append(this.root);
  }

  draw() {
    const { model, root } = this;
    const cells = model.get('cells');
    const focused = root.contains(document.activeElement) ? Number(document.activeElement.dataset.id) : null;
    const top = root.scrollTop;
    root.setAttribute('aria-label', model.get('title'));
    this.nodes = new Map();
    if (!cells.length) {
      root.replaceChildren(make('div', { className: 'gt-gallery-empty', text: model.get('empty') }));
      return;
    }
    root.replaceChildren(...cells.map((cell, place) => this.cell(cell, place)));
    root.scrollTop = top;
    this.place();
    this.select();
    if (focused !== null) this.nodes.get(focused)?.focus();
  }

  cell(cell, place) {
    const below = make('div', { className: 'gt-sheet gt-below' });
    const above = make('div', { className: 'gt-sheet gt-above' });
    const picture = make('div', { className: 'gt-pic' }, below, above);
    if (cell.mark && cell.mark !== 'excluded') picture.append(make('span', { className: 'gt-badge', text: cell.mark }));
    const note = make('div', { className: 'gt-note' });
    if (cell.group.length) {
      const bar = make('span', { className: 'gt-group', title: cell.group[0] });
      bar.style.background = cell.group[1];
      note.append(bar);
    }
    note.append(make('span', { text: cell.note }));
    const spoken = cell.mark === 'excluded' ? `${cell.label}; excluded` : cell.label;
    const node = make('div', { className: 'gt-cell', role: 'option', title: cell.label, 'aria-label': spoken }, picture, note);
    node.tabIndex = -1;
    node.dataset.lmSuppressShortcuts = 'true'; // Notebook 7 looks at the focused element alone
    node.dataset.id = String(cell.id);
    node.dataset.mark = cell.mark;
    node.dataset.place = String(place);
    node.addEventListener('click', () => this.choose(cell.id));
    this.nodes.set(cell.id, node);
    return node;
  }

  // Where each cell's part of the sheets is; addresses change, nodes stay.
  sheets() {
    const { model } = this;
    this.below.set(model.get('sheet'));
    this.above.set(model.get('top'));
    this.place();
  }

  place() {
    const { model } = this;
    const size = model.get('size_px');
    const columns = model.get('sheet_columns');
    this.root.style.setProperty('--gt-size', `${size}px`);
    for (const node of this.nodes?.values() ?? []) {
      const number = Number(node.dataset.place);
      const at = `${-(number % columns) * size}px ${-Math.floor(number / columns) * size}px`;
      for (const [part, picture] of [['.gt-below', this.below], ['.gt-above', this.above]]) {
        const { style } = node.querySelector(part);
        style.backgroundImage = picture.url ? `url(${picture.url})` : '';
        style.backgroundSize = `${columns * size}px auto`;
        style.backgroundPosition = at;
      }
    }
    this.root.style.setProperty('--gt-overlay', String(model.get('overlay')));
    for (const node of this.root.querySelectorAll('.gt-above')) node.style.opacity = String(model.get('overlay'));
  }

  select() {
    const chosen = this.model.get('selected');
    let first = null;
    for (const [id, node] of this.nodes ?? []) {
      first ??= node;
      node.setAttribute('aria-selected', String(id === chosen));
      node.tabIndex = -1;
    }
    const node = this.nodes?.get(chosen);
    if (node) {
      const box = this.root.getBoundingClientRect();
      const own = node.getBoundingClientRect();
      if (own.top < box.top || own.bottom > box.bottom) this.root.scrollTop += own.top - box.top - 8;
    }
    const entry = node ?? first;
    if (entry) entry.tabIndex = 0;
  }

  choose(id) {
    this.model.set('selected', id);
    this.model.save_changes();
    this.nodes.get(id)?.focus();
  }

  key(event) {
    const all = [...this.nodes.values()];
    const now = all.indexOf(document.activeElement);
    if (now < 0) return;
    event.stopPropagation();
    const wide = all.filter((n) => n.offsetTop === all[0].offsetTop).length || 1;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide, Home: -now, End: all.length - 1 - now };
    const id = Number(all[now].dataset.id);
    if (event.key in steps) {
      event.preventDefault();
      const next = all[Math.min(Math.max(now + steps[event.key], 0), all.length - 1)];
      all[now].tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.choose(id);
    } else if (this.model.get('told_keys').includes(event.key)) {
      event.preventDefault();
      this.model.send({ kind: 'key', key: event.key, id });
    }
  }
}

export default {
  render({ model, el }) {
    const view = new GalleryView(model, el);
    const stop = hearAll(model, {
      'change:cells change:empty change:title': () => view.draw(),
      'change:sheet change:top change:sheet_columns': () => view.sheets(),
      'change:overlay change:size_px': () => view.place(),
      'change:selected': () => view.select(),
    });
    return () => {
      stop();
      view.below.free();
      view.above.free();
    };
  },
};
