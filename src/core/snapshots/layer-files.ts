import { Failure } from "../failure/failure.js";

/** A layer as one file: an EROFS image. */
export interface LayerFile {
  /** By which it is found: the layer's diff id or, where it depends on the layers below, the chain id. */
  key: string;
  diffId: string;
  /** Of the file, in bytes. */
  size: number;
  path: string;
}

/** The layer files below `--root`, each stored once, whichever namespaces and snapshots use it. */
export class LayerFiles {
  /** A path for a file that is being made; what is left there goes with the next daemon. Nobody else gets it. */
  temporary(): Promise<string> {
    throw notYet();
  }

  /** Those that can be used now. */
  get(key: string): Promise<LayerFile | undefined> {
    throw notYet();
  }

  /**
   * Keeps a file that is whole: on the disk, under its name, once this resolves. One that is there with that key stays, and the other goes.
   * @param path of {@link temporary}
   */
  add(key: string, path: string, layer: Pick<LayerFile, "diffId" | "size">): Promise<LayerFile> {
    throw notYet();
  }

  list(): Promise<LayerFile[]> {
    throw notYet();
  }

  /** Removes one that no snapshot uses. @throws Failure (failed-precondition) when one does */
  remove(key: string): Promise<void> {
    throw notYet();
  }
}

function notYet(): Failure {
  return new Failure("unimplemented", "refused", { why: "layer files are not there yet" });
}
