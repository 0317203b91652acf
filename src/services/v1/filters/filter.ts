import { Slices } from "../../../core/scheduling/slices.js";
import { parseFilter, type Selector } from "./parse.js";
import { regularExpression } from "./regular-expression.js";

/** What an object has in a field, given by its path (`labels`, `a.b`); undefined when that is not set. */
export type Field = (path: readonly string[]) => string | undefined;

/** Whether an object passes the filters. */
export type Filter = (field: Field) => boolean;

/**
 * What passes any of the filters; everything does when there is none.
 * @throws Failure (invalid-argument) for one that can't be read
 */
export async function filterOf(filters: readonly string[]): Promise<Filter> {
  if (filters.length === 0) return () => true;
  const any = await Promise.all(filters.map(async (text) => all(await Promise.all(parseFilter(text).map(condition)))));
  return (field) => any.some((filter) => filter(field));
}

/**
 * Those of the objects that pass the filters.
 * @param fieldOf finds an object's fields
 * @throws Failure (invalid-argument) for a filter that can't be read
 */
export async function filtered<T>(
  objects: readonly T[],
  filters: readonly string[],
  fieldOf: (object: T) => Field,
): Promise<T[]> {
  const passes = await filterOf(filters);
  const passed: T[] = [];
  const slices = new Slices();
  for (const object of objects) {
    if (passes(fieldOf(object))) passed.push(object);
    await slices.next();
  }
  return passed;
}

/** The field that a map like `labels` has for the rest of a path: of a key with dots, too. */
export function entry(map: Readonly<Record<string, string>>, path: readonly string[]): string | undefined {
  const key = path.join(".");
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

/** Nothing is what is not there: an empty text counts as not set. */
export function present(text: string): string | undefined {
  return text === "" ? undefined : text;
}

function all(conditions: readonly Filter[]): Filter {
  return (field) => conditions.every((condition) => condition(field));
}

async function condition({ path, operator, value }: Selector): Promise<Filter> {
  switch (operator) {
    case "present":
      return (field) => field(path) !== undefined;
    case "==":
      return (field) => field(path) === value;
    case "!=":
      return (field) => (field(path) ?? "") !== value;
    case "~=": {
      const matches = await regularExpression(value);
      return (field) => matches(field(path) ?? "");
    }
  }
}
