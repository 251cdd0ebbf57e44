const SIGN = { info: '', warning: 'Note: ', error: 'Problem: ' };

export default {
  render({ model, el }) {
    const line = document.createElement('div');
    line.className = 'gt gt-message';
    line.setAttribute('role', 'status');
    line.setAttribute('aria-live', 'polite');
    el.append(line);
    const show = () => {
      const text = model.get('text');
      line.dataset.level = model.get('level');
      line.textContent = text ? SIGN[model.get('level')] + text : '';
    };
    model.on('change:text change:level', show);
    show();
    return () => model.off('change:text change:level', show);
  },
};
