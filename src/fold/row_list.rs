//! The rows of a table, in order, whose objects are used again by later requests.

/// For how many rows an empty list keeps its objects.
const KEPT: usize = 16;

/// A row that can be emptied in place.
pub(crate) trait Row: Default {
    fn reset(&mut self);
}

/// To build a row anew and to drop it would cost a third of what it takes to add a span to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowList<T> {
    rows: Vec<Box<T>>,
    spare: Vec<Box<T>>,
}

impl<T: Row> RowList<T> {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.rows.iter().map(|row| &**row)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.iter_mut().map(|row| &mut **row)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.rows.get_mut(at).map(|row| &mut **row)
    }

    /// The place of a row by its key, or the place where it belongs.
    pub(crate) fn find<K: Ord>(&self, key: K, key_of: impl Fn(&T) -> K) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&key, |row| key_of(row))
    }

    /// Inserts an empty row.
    #[inline(always)]
    pub(crate) fn insert(&mut self, at: usize, begin: impl FnOnce(&mut T)) {
        let mut row = self.spare.pop().unwrap_or_default();
        begin(&mut row);
        self.rows.insert(at, row);
    }

    /// Removes all rows.
    pub(crate) fn clear(&mut self) {
        self.rows.truncate(KEPT);
        self.rows.iter_mut().for_each(|row| row.reset());
        self.spare.append(&mut self.rows);
        self.spare.truncate(KEPT);
        self.rows.shrink_to(KEPT);
        self.spare.shrink_to(KEPT);
    }
}
