// Fails where an export of `lowrank` or `lowrank/node`, or a method or callback of one, has no doc comment. It reads
// declarations only, in a second; `npm run docs:api` resolves types and takes minutes.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import ts from 'typescript';

const ENTRIES = ['src/index.ts', 'src/node.ts'];

const parsed = new Map();

function sourceOf(file) {
  const known = parsed.get(file) ?? ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  parsed.set(file, known);
  return known;
}

const isDocumented = (node) => ts.getJSDocCommentsAndTags(node).length > 0;

function nameOf(member) {
  return member.name?.getText();
}

/** Members that are called: methods, and properties whose type is a function. */
function isCallable(member) {
  if (ts.isMethodSignature(member)) return true;
  if (ts.isMethodDeclaration(member))
    return !member.modifiers?.some(({ kind }) =>
      [ts.SyntaxKind.PrivateKeyword, ts.SyntaxKind.ProtectedKeyword].includes(kind),
    );
  if (!ts.isPropertySignature(member) || member.type === undefined) return false;
  const types = ts.isUnionTypeNode(member.type) ? member.type.types : [member.type];
  return types.some((type) => ts.isFunctionTypeNode(ts.isParenthesizedTypeNode(type) ? type.type : type));
}

/** @returns the names that a declaration leaves undocumented: its own, or `Name.member`. */
function undocumentedIn(name, declarations) {
  const missing = declarations.some(isDocumented) ? [] : [name];
  for (const declaration of declarations) {
    if (!ts.isInterfaceDeclaration(declaration) && !ts.isClassDeclaration(declaration)) continue;
    // A class is documented by the interface that it implements.
    if (declaration.heritageClauses?.some(({ token }) => token === ts.SyntaxKind.ImplementsKeyword)) continue;
    for (const member of declaration.members)
      if (isCallable(member) && !isDocumented(member)) missing.push(`${name}.${nameOf(member)}`);
  }
  return missing;
}

/** The declarations of an exported name, where they are, through re-exports. */
function declarationsOf(file, name) {
  const source = sourceOf(file);
  const found = source.statements.filter((statement) =>
    ts.isVariableStatement(statement)
      ? statement.declarationList.declarations.some((declaration) => declaration.name.getText() === name)
      : statement.name?.text === name,
  );
  if (found.length > 0) return { file, declarations: found };
  for (const { exported, original, from } of [...reExportsOf(source), ...importsOf(source)])
    if (exported === name) return declarationsOf(from, original);
  throw new Error(`${file} does not declare ${name}`);
}

/** The file that an import or export names. */
function fileOf(source, { moduleSpecifier }) {
  return resolve(dirname(source.fileName), moduleSpecifier.text.replace(/\.js$/, '.ts'));
}

function namesIn(elements, from) {
  return elements.map(({ name, propertyName }) => ({
    exported: name.text,
    original: (propertyName ?? name).text,
    from,
  }));
}

/** What a file imports by name from others of the project, and may export in turn. */
function importsOf(source) {
  return source.statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement) || !statement.moduleSpecifier.text.startsWith('.')) return [];
    const named = statement.importClause?.namedBindings;
    return named === undefined || !ts.isNamedImports(named) ? [] : namesIn(named.elements, fileOf(source, statement));
  });
}

function reExportsOf(source) {
  return source.statements.flatMap((statement) => {
    if (!ts.isExportDeclaration(statement) || statement.moduleSpecifier === undefined) return [];
    if (statement.exportClause === undefined || !ts.isNamedExports(statement.exportClause))
      throw new Error(`${source.fileName}: export names, not *`);
    return namesIn(statement.exportClause.elements, fileOf(source, statement));
  });
}

const problems = new Set();
let count = 0;
for (const entry of ENTRIES) {
  for (const { original, from } of reExportsOf(sourceOf(resolve(entry)))) {
    const { file, declarations } = declarationsOf(from, original);
    count++;
    for (const name of undocumentedIn(original, declarations))
      problems.add(`${file.slice(resolve('.').length + 1)}: ${name} is public and has no doc comment`);
  }
}
if (count === 0) throw new Error('the entries export nothing');
for (const problem of problems) console.error(problem);
process.exitCode = problems.size > 0 ? 1 : 0;
