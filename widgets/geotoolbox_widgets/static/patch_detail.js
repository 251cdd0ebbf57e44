// One patch enlarged: image, mask over it, facts, and what training shall do with it. Uses dom.js.

export default {
  render({ model, el }) {
    const root = make('div', { className: 'gt gt-detail', role: 'region', 'aria-label': 'The selected sample' });
    const title = make('h3');
    const body = make('div');
    const below = new Picture();
    const above = new Picture();
    const image = make('img', { alt: '' });
    const over = make('img', { alt: '' });
    const mask = make('img', { alt: '' });
    const first = make('div', { className: 'gt-frame' }, image, over);
    const second = make('div', { className: 'gt-frame' }, mask);
    const facts = make('table');
    const classes = make('table');
    const out = own(make('input', { type: 'checkbox', className: 'gt-exclude' }));
    out.addEventListener('change', () => model.send({ kind: 'exclude', value: out.checked }));
    const weight = number(1, 'Weight in training', { min: 0, max: 100, step: 0.5 }, (v) => model.send({ kind: 'weight', value: v }));
    weight.classList.add('gt-weight');
    const decide = make('div', { className: 'gt-decide' },
      make('label', {}, out, ' Leave out of training (key x)'), make('label', {}, 'Weight ', weight));
    const chartTitle = make('h4', { text: 'Classes of what is kept' });
    const chart = make('div', { className: 'gt-chart', role: 'img' });
    body.append(make('div', { className: 'gt-pair' }, first, second), decide, facts, classes);
    root.append(title, body, chartTitle, chart);
    el.append(root);

    const show = (node, url) => {
      if (url) node.src = url;
      else node.removeAttribute('src');
      node.style.visibility = url ? '' : 'hidden';
    };
    const stop = hearAll(model, {
      'change:title': () => {
        const text = model.get('title');
        title.textContent = text || 'Choose a sample in the gallery or on the map.';
        body.hidden = !text;
        image.alt = text ? `${text}: the image` : '';
        mask.alt = text ? `${text}: the labels` : '';
      },
      'change:picture': () => show(image, below.set(model.get('picture'))),
      'change:top': () => {
        const url = above.set(model.get('top'));
        show(over, url);
        show(mask, url);
        second.hidden = !url;
      },
      'change:overlay': () => (over.style.opacity = String(model.get('overlay'))),
      'change:facts': () => facts.replaceChildren(make('tbody', {}, ...model.get('facts').map(([name, value]) =>
        make('tr', {}, make('th', { scope: 'row', text: name }), make('td', { text: value }))))),
      'change:classes': () => classes.replaceChildren(make('caption', { className: 'gt-hidden', text: 'Classes in this sample' }),
        make('tbody', {}, ...model.get('classes').map(([name, color, words, share]) => {
          const bar = make('span', { className: 'gt-bar', 'aria-hidden': 'true' });
          bar.style.background = color;
          bar.style.width = `${Math.max(1, 100 * share)}%`;
          const cell = make('td', {}, bar);
          cell.style.width = '45%';
          return make('tr', {}, make('th', { scope: 'row', text: name }), cell, make('td', { className: 'gt-number', text: words }));
        }))),
      'change:excluded': () => (out.checked = model.get('excluded')),
      'change:weight': () => (weight.value = String(model.get('weight'))),
      'change:chart change:chart_text': () => {
        // The drawing is made by the kernel, its texts escaped there; scripts in it would not run.
        const drawing = new DOMParser().parseFromString(model.get('chart') || '<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml');
        const svg = drawing.documentElement;
        chart.replaceChildren();
        chartTitle.hidden = !model.get('chart');
        if (model.get('chart') && svg.nodeName === 'svg') chart.append(document.importNode(svg, true));
        chart.setAttribute('aria-label', model.get('chart_text'));
      },
    });
    return () => {
      stop();
      below.free();
      above.free();
    };
  },
};
