/** The clusters that jobs run on, and what of them is used. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ICluster } from './api.js';
import { Bar, element, setShown } from './dom.js';
import { amount, mebibytes } from './format.js';

export class ClustersView {
  readonly node = element('details', 't2-Clusters');

  constructor(private _trans: TranslationBundle) {
    this.node.open = true;
    this._title.textContent = _trans.__('Clusters');
    this.node.append(this._title, this._body);
    setShown(this.node, false);
  }

  draw(clusters: ICluster[]): void {
    const trans = this._trans;
    setShown(this.node, clusters.length > 0);
    this._title.textContent = clusters.length > 1 ? trans.__('Clusters (%1)', clusters.length) : trans.__('Cluster');
    this._body.replaceChildren(...clusters.map(cluster => this._one(cluster)));
  }

  private _one(cluster: ICluster): HTMLElement {
    const trans = this._trans;
    const node = element('div', 't2-Cluster');
    const head = element('div', 't2-Item-line');
    head.append(element('span', 't2-Cluster-name', cluster.master));
    if (cluster.is_embedded) {
      head.append(element('span', 't2-Muted', trans.__('embedded')));
    }
    node.append(head);
    if (cluster.error || cluster.cpus_total === undefined) {
      node.append(element('div', 't2-Message', cluster.error));
      return node;
    }
    const agents = cluster.slaves_active ?? 0;
    const tasks = cluster.tasks_running ?? 0;
    const told = [trans._n('%1 agent', '%1 agents', agents), trans._n('%1 task', '%1 tasks', tasks)];
    head.append(element('span', 't2-Muted t2-Right', told.join(', ')));
    const used = cluster.cpus_used ?? 0;
    node.append(
      this._use(
        trans.__('cpus'),
        used,
        cluster.cpus_total,
        trans.__('%1 of %2 cpus', amount(used), amount(cluster.cpus_total))
      ),
      this._use(
        trans.__('memory'),
        cluster.mem_used ?? 0,
        cluster.mem_total ?? 0,
        trans.__('%1 of %2', mebibytes(cluster.mem_used ?? 0), mebibytes(cluster.mem_total ?? 0))
      )
    );
    return node;
  }

  private _use(what: string, used: number, total: number, text: string): HTMLElement {
    const line = element('div', 't2-Item-line');
    const bar = new Bar(this._trans.__('Used %1', what));
    const share = total ? used / total : 0;
    bar.set(share, share > 0.9 ? 'waiting' : 'active');
    line.append(bar.node, element('span', 't2-Number', text));
    return line;
  }

  private _title = element('summary', 't2-Section');
  private _body = element('div');
}
